//! Control groups: what the kernel's files say, and real groups where this machine lets us make them.

use super::*;

/// A plain host, as systemd mounts it.
const PURE: &str = "\
25 30 0:23 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
33 25 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
34 25 0:29 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:10 - pstore pstore rw
";
/// Version 1 with version 2 beside it.
const HYBRID: &str = "\
24 23 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:30 / /sys/fs/cgroup/systemd rw,relatime master:11 propagate_from:3 - cgroup cgroup rw,name=systemd
33 24 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
/// A container without a cgroup namespace of its own: it sees a part of the host's tree.
const PART: &str = "33 24 0:28 /docker/0a1b /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n";
/// A mount from before its cgroup namespace was entered.
const ABOVE: &str = "33 24 0:28 /.. /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n";

fn mount(root: &str, point: &str) -> Mount {
    Mount { root: root.into(), point: point.into(), is_read_only: false }
}

#[test]
fn mounts_of_version_two_are_found_among_others() {
    assert_eq!(parse_mounts(PURE), [mount("/", "/sys/fs/cgroup")]);
    assert_eq!(parse_mounts(HYBRID), [mount("/", "/sys/fs/cgroup/unified")]);
    assert_eq!(parse_mounts(ABOVE), [mount("/..", "/sys/fs/cgroup")]);
    let part = Mount { is_read_only: true, ..mount("/docker/0a1b", "/sys/fs/cgroup") };
    assert_eq!(parse_mounts(PART), std::slice::from_ref(&part));
    let whole_is_read_only = PART.replace(" ro,", " rw,").replace("cgroup rw\n", "cgroup ro,nsdelegate\n");
    assert_eq!(parse_mounts(&whole_is_read_only), [part]);
    assert_eq!(parse_mounts("24 23 0:22 / /sys/fs/cgroup rw,relatime - tmpfs cgroup2 rw\n"), []);
}

#[test]
fn blanks_in_a_mount_point_are_escaped() {
    let found = parse_mounts("1 2 0:3 /a\\134b /m\\040n\\011o\\012p rw - cgroup2 none rw\n");
    assert_eq!(found, [mount("/a\\b", "/m n\to\np")]);
    // No escape, and not UTF-8.
    assert_eq!(unescape("a\\09\\").as_deref(), Some("a\\09\\"));
    assert_eq!((unescape("\\377"), unescape("\\777")), (None, None));
}

#[test]
fn odd_lines_are_passed_over() {
    for line in ["", " - ", "- cgroup2", "1 - cgroup2 none rw", "1 2 0:3 / - cgroup2 none rw", "1 2 3 / /x rw cgroup2"]
    {
        assert_eq!(parse_mounts(line), [], "{line}");
    }
    let with_rubbish = format!("rubbish\n - cgroup2\n{HYBRID}");
    assert_eq!(parse_mounts(&with_rubbish), parse_mounts(HYBRID));
    // No options of the file system.
    assert_eq!(parse_mounts("1 2 0:3 / /x rw - cgroup2"), [mount("/", "/x")]);
}

#[test]
fn our_own_group_is_the_line_without_number_and_controllers() {
    let session = "/user.slice/user-1000.slice/session-1.scope";
    assert_eq!(parse_kernel_path(format!("0::{session}\n").as_bytes()), Some(session));
    assert_eq!(parse_kernel_path(b"9:name=systemd:/\n4:memory:/a/0::/b\n0::/c\n"), Some("/c"));
    assert_eq!(parse_kernel_path(b"0::/../../a:b c\n"), Some("/../../a:b c"));
    for none in ["", "0::", "0::\n", "0::a\n", "10::/a\n", "4:memory:/a\n", "4:memory:0::/a\n"] {
        assert_eq!(parse_kernel_path(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn a_group_is_found_by_what_is_mounted_of_the_tree() {
    let found = |mount: Mount, path: &str| mount.find(path).map(|path| path.to_str().unwrap().to_owned());
    assert_eq!(found(mount("/", "/c"), "/"), Ok("/c".into()));
    assert_eq!(found(mount("/", "/c"), "/a/b"), Ok("/c/a/b".into()));
    assert_eq!(found(mount("/a", "/c"), "/a"), Ok("/c".into()));
    assert_eq!(found(mount("/a", "/c"), "/a/b"), Ok("/c/b".into()));
    for (root, path) in [("/a", "/"), ("/a", "/ab"), ("/a", "/b"), ("/..", "/"), ("/", "/.."), ("/", "/../b")] {
        let why = found(mount(root, "/c"), path).unwrap_err();
        assert_eq!(why, format!("{path}, our own control group, is not below {root}, mounted at /c"));
    }
    // A name that only begins with two dots.
    assert_eq!(found(mount("/", "/c"), "/..a"), Ok("/c/..a".into()));
    let read_only = Mount { is_read_only: true, ..mount("/", "/c") };
    assert_eq!(found(read_only, "/").unwrap_err(), "/c is mounted read-only");
}

#[test]
fn a_directory_is_named_as_the_kernel_names_it() {
    let named = |mounts: &[Mount], path: &str| kernel_path_of(mounts, Path::new(path));
    assert_eq!(named(&[mount("/", "/c")], "/c/termleash-1").as_deref(), Some("/termleash-1"));
    assert_eq!(named(&[mount("/a", "/c")], "/c/b/termleash-1").as_deref(), Some("/a/b/termleash-1"));
    let several = [mount("/in", "/c/d"), mount("/old", "/c"), mount("/new", "/c")];
    assert_eq!(named(&several, "/c/d/termleash-1").as_deref(), Some("/in/termleash-1"));
    assert_eq!(named(&several, "/c/termleash-1").as_deref(), Some("/new/termleash-1"));
    for (mounts, path) in [
        (&[mount("/..", "/c")][..], "/c/termleash-1"),
        (&[mount("/", "/c")], "/d/termleash-1"),
        (&[mount("/", "/c")], "/cc/termleash-1"),
        (&[mount("/", "/c")], "/c/other"),
        (&[mount("/", "/c")], "/c"),
        (&[], "/c/termleash-1"),
    ] {
        assert_eq!(named(mounts, path), None, "{path}");
    }
}

#[test]
fn a_mark_survives_json() {
    let mark = CgroupMark { path: "/sys/fs/cgroup/termleash-1".into(), kernel_path: "/termleash-1".into() };
    let json = serde_json::to_string(&mark).unwrap();
    assert_eq!(serde_json::from_str::<CgroupMark>(&json).unwrap(), mark);
}

#[test]
fn a_name_that_leads_elsewhere_makes_no_group() {
    for name in ["", "a/b", "..\\x", "a\nb", "a b", "\u{e9}"] {
        assert!(Leaf::create(name, |_| ()).unwrap_err().contains("is no name for a control group"), "{name}");
    }
}

#[test]
fn what_is_no_group_of_ours_by_its_name_is_not_opened() {
    for path in
        ["/", "/sys/fs/cgroup", "/sys/fs/cgroup/termleash-", "termleash-1", "/a/../termleash-1", "/termleash-1/.."]
    {
        let cause = Leaf::open(Path::new(path)).unwrap_err();
        assert_eq!(cause.kind(), io::ErrorKind::InvalidInput, "{path}: {cause}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod real {
    use super::*;
    use crate::process::kill::{Target, end_all};
    use crate::process::rule::Mark;
    use crate::process::scan::{Survey, survey};
    use crate::sys::now_ticks;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Child, ChildStdin, Command, Stdio};
    use std::time::{Duration, Instant};

    /// Runs this very test again in a mount namespace, after a command that changes what is mounted there; `None` in that
    /// process, where the body is to run. Says so where the machine does not let us.
    fn in_namespace(prepare: &str) -> Option<()> {
        if std::env::var_os("TEST_CHILD").is_some() {
            return None;
        }
        let name = std::thread::current().name().unwrap().to_owned();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if crate::sys::own_uid() != 0 {
            command.args(["--user", "--map-root-user", "--cgroup"]);
        }
        let script = format!("{{ {prepare}; }} && echo prepared && exec \"$@\"");
        command.args(["sh", "-c", &script, "sh"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env("TEST_CHILD", "1").stdin(Stdio::null());
        let Ok(output) = command.output() else {
            crate::event::warn("not tested: there is no unshare(1)");
            return Some(());
        };
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Or the program cannot be run by another user.
        if !text.starts_with("prepared") || matches!(output.status.code(), Some(126 | 127)) {
            crate::event::warn(format!("not tested: no mount namespace of our own, or no mount in it: {text}"));
            return Some(());
        }
        assert!(output.status.success() && text.contains("1 passed"), "{}:\n{text}", output.status);
        if text.contains("not tested") {
            crate::event::warn(text);
        }
        Some(())
    }

    /// Ends what is in the group and takes it away also when the test fails: it is visible in the kernel's one tree after the
    /// namespace is gone.
    struct Removed(Leaf);

    impl Drop for Removed {
        fn drop(&mut self) {
            for pid in members(&self.0.mark().path).unwrap_or_default() {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            }
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end {
                if self.0.remove().is_ok() {
                    return;
                }
                std::thread::yield_now();
            }
            crate::event::warn(format!("{} is left behind", self.0.mark().path.display()));
        }
    }

    /// A leaf in a cgroup v2 of our own mount namespace, or why not, visibly.
    fn leaf(name: &str) -> Option<Removed> {
        // Told of before it is there.
        let tell = |group: &CgroupMark| assert!(!group.path.exists(), "{} is there", group.path.display());
        match Leaf::create(&format!("{name}-{}", std::process::id()), tell) {
            Ok(leaf) => Some(Removed(leaf)),
            Err(why) => {
                assert!(!why.is_empty());
                crate::event::warn(format!("not tested: no control group: {why}"));
                None
            }
        }
    }

    /// Ended with the test, whatever its end.
    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A shell that runs `script` once it is told to go.
    fn shell(script: &str) -> (Ended, ChildStdin) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("read go; {script}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        (Ended(child), input)
    }

    fn enter(path: &Path, pid: u32) {
        fs::write(path.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    fn line(shell: &mut Ended) -> u32 {
        let mut line = String::new();
        BufReader::new(shell.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    fn by_group(leaf: &Leaf, since: u64) -> Mark {
        Mark { cgroup: Some(leaf.mark().clone()), ..Mark::of(None, since) }
    }

    /// Its environment is empty and it is what it is to be: past the exec.
    fn until_it_sleeps(pid: u32) {
        let end = Instant::now() + Duration::from_secs(10);
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        while name() != "sleep\n" || !fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty() {
            assert!(Instant::now() < end, "it is {}", name());
            std::thread::yield_now();
        }
    }

    /// One pass may find no end, where processes come and go.
    fn settled_survey(mark: &Mark) -> Survey {
        let mut found = Survey::default();
        crate::backoff::soon("a pass that finds an end", || {
            found = survey(&[mark]).unwrap();
            found.is_settled
        });
        found
    }

    const ESCAPE: &str = "sleep=$(command -v sleep); setsid env -i \"$sleep\" 1000 & echo $!; wait";
    /// Over whatever this machine has mounted there.
    const MOUNT: &str = "mount -t cgroup2 none /sys/fs/cgroup";

    #[test]
    fn what_clears_its_environment_and_leaves_its_session_is_found_and_ended_by_its_group_alone() {
        if in_namespace(MOUNT).is_some() {
            return;
        }
        let since = now_ticks();
        let bystander = Ended(Command::new("sleep").arg("1000").spawn().unwrap());
        let (mut shell, mut go) = shell(ESCAPE);
        let Some(leaf) = leaf("escape") else { return };
        let mark = by_group(&leaf.0, since);
        assert_eq!((members(&leaf.0.mark().path).unwrap(), leaf.0.is_populated().unwrap()), (vec![], false));
        let nothing = settled_survey(&mark);
        assert!(nothing.found.is_empty() && nothing.suspects.is_empty());

        enter(&mark.cgroup.as_ref().unwrap().path, shell.0.id());
        writeln!(go, "go").unwrap();
        let sleeper = line(&mut shell);
        until_it_sleeps(sleeper);
        assert_eq!(Leaf::open(&leaf.0.mark().path).unwrap().mark(), leaf.0.mark());
        assert!(leaf.0.is_populated().unwrap());
        // A group that has members stays.
        assert_eq!(leaf.0.remove().unwrap_err().kind(), io::ErrorKind::ResourceBusy);

        let survey = settled_survey(&mark);
        let mut found: Vec<u32> = survey.found.iter().map(|found| found.handle.pid()).collect();
        found.sort_unstable();
        let mut expected = vec![shell.0.id(), sleeper];
        expected.sort_unstable();
        assert_eq!((found, survey.suspects.len()), (expected.clone(), 0));
        assert_eq!(members(&leaf.0.mark().path).unwrap(), expected);
        drop(survey);

        let mut targets = [Target::new(mark, None)];
        crate::runtime::block_on(end_all(&mut targets, Duration::from_millis(500), Instant::now())).unwrap();
        assert_eq!((&targets[0].ending.survivors, &targets[0].ending.suspects), (&vec![], &vec![]));
        drop(shell);
        assert!(crate::process::handle::ProcessHandle::open(bystander.0.id()).unwrap().is_alive());
        assert!(!leaf.0.is_populated().unwrap());
        leaf.0.remove().unwrap();
        assert!(!leaf.0.mark().path.exists());
        // Again, as a keeper and a sweep may.
        leaf.0.remove().unwrap();
        assert_eq!(Leaf::open(&leaf.0.mark().path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_group_that_is_gone_holds_nobody() {
        if in_namespace(MOUNT).is_some() {
            return;
        }
        let Some(leaf) = leaf("gone") else { return };
        let mark = by_group(&leaf.0, 0);
        leaf.0.remove().unwrap();
        assert!(settled_survey(&mark).found.is_empty());
    }

    #[test]
    fn threaded_groups_that_a_test_makes_below_are_looked_into_and_taken_away() {
        if in_namespace(MOUNT).is_some() {
            return;
        }
        let since = now_ticks();
        let (mut shell, mut go) = shell(ESCAPE);
        let Some(leaf) = leaf("nested") else { return };
        let deep = leaf.0.mark().path.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        // One of this type shows no processes: the group above it does.
        for threaded in [&leaf.0.mark().path.join("a"), &deep] {
            fs::write(threaded.join("cgroup.type"), "threaded").unwrap();
        }
        let why = Leaf::create_below(&deep, "/any", "invalid", |_| ()).unwrap_err();
        assert!(why.ends_with("is of type `domain invalid`, which takes no processes"), "{why}");
        assert!(!deep.join("termleash-invalid").exists());
        enter(&leaf.0.mark().path, shell.0.id());
        fs::write(deep.join("cgroup.threads"), shell.0.id().to_string()).unwrap();
        writeln!(go, "go").unwrap();
        let sleeper = line(&mut shell);
        until_it_sleeps(sleeper);
        let mut targets = [Target::new(by_group(&leaf.0, since), None)];
        assert_eq!(members(&leaf.0.mark().path).unwrap().len(), 2);
        crate::runtime::block_on(end_all(&mut targets, Duration::from_millis(500), Instant::now())).unwrap();
        drop(shell);
        leaf.0.remove().unwrap();
        assert!(!leaf.0.mark().path.exists());
    }

    #[test]
    fn groups_that_a_test_makes_below_are_looked_into_and_taken_away() {
        if in_namespace(MOUNT).is_some() {
            return;
        }
        let since = now_ticks();
        let (mut shell, mut go) = shell(ESCAPE);
        let Some(leaf) = leaf("below") else { return };
        let deep = leaf.0.mark().path.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        enter(&deep, shell.0.id());
        writeln!(go, "go").unwrap();
        until_it_sleeps(line(&mut shell));
        let mut targets = [Target::new(by_group(&leaf.0, since), None)];
        assert_eq!(members(&leaf.0.mark().path).unwrap().len(), 2);
        crate::runtime::block_on(end_all(&mut targets, Duration::from_millis(500), Instant::now())).unwrap();
        drop(shell);
        leaf.0.remove().unwrap();
    }

    #[test]
    fn where_there_is_no_group_to_be_had_the_reason_is_told() {
        if in_namespace("umount -R /sys/fs/cgroup; ! grep -q ' - cgroup2 ' /proc/self/mountinfo").is_some() {
            return;
        }
        assert_eq!(Leaf::create("none", |_| ()).unwrap_err(), "no cgroup v2 file system is mounted");
    }

    #[test]
    fn a_user_who_may_make_no_group_is_told_which_file_says_so() {
        if in_namespace(&format!("{MOUNT} && set -- setpriv --reuid=65534 --clear-groups \"$@\"")).is_some() {
            return;
        }
        let why = Leaf::create("forbidden", |_| ()).unwrap_err();
        assert!(why.contains("cgroup.procs may not be written: Permission denied"), "{why}");
    }

    #[test]
    fn what_is_mounted_over_a_group_is_not_taken_for_one() {
        if in_namespace(&format!("{MOUNT} && mount -t tmpfs none /sys/fs/cgroup")).is_some() {
            return;
        }
        let why = Leaf::create("hidden", |_| ()).unwrap_err();
        assert!(why.contains("cannot be used"), "{why}");
        // As a mkdir would make it.
        let path = Path::new("/sys/fs/cgroup/termleash-x");
        fs::create_dir(path).unwrap();
        let cause = Leaf::open(path).unwrap_err();
        assert_eq!(cause.to_string(), "it is no directory of cgroup v2");
    }
}
