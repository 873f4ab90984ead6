//! Ledgers that are broken, or that lie, and a sweep of them: nothing unproven gets a signal, and the report says why.

use crate::scene::{Bystander, Scene, line, somebody_dead};
use rustix::process::geteuid;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};
use termleash::process::ProcessHandle;

/// The run of a scene: its id, and with it the name of its file. Each has one of its own, as tests run side by side.
fn run_id(scene: &Scene) -> String {
    format!("01920000-0000-7000-8000-{:012x}", scene.serial())
}

/// The number of its session's cookie.
fn session(scene: &Scene) -> u64 {
    0x8000_0000_0000_0000 | scene.serial() << 8
}

fn plays_nothing(_: &crate::scene::Me) {
    unreachable!("sweeps only");
}

fn now() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    (seconds * 100.0) as u64
}

/// The run of somebody dead.
fn run(scene: &Scene) -> Value {
    let owner = somebody_dead();
    json!({"kind": "run", "format": 1, "run": run_id(scene), "since": owner["started"], "owner": owner, "user": geteuid().as_raw(),
        "name": "a_test", "create_within_ms": 1000})
}

fn announced(scene: &Scene, since: u64) -> Value {
    json!({"kind": "announced", "id": 1, "cookie": {"session": session(scene), "run": run_id(scene)}, "since": since, "label": "sh",
        "made_at": "tests/a.rs:1", "recipe": {"by": "own"}})
}

fn identified(leader: &Value) -> Value {
    json!({"kind": "identified", "id": 1, "leader": leader, "since": null, "session": "pty-1"})
}

/// `NAME=value` of a cookie in the environment.
fn cookie(session: u64, run: &str) -> (String, String) {
    (format!("TERMLEASH_S_{session:016x}"), run.replace('-', ""))
}

fn with(mut record: Value, field: &str, value: impl Into<Value>) -> Value {
    record[field] = value.into();
    record
}

/// Everybody whom a confused sweep could take for ours.
struct Crowd {
    all: Vec<Bystander>,
}

impl Crowd {
    fn new(scene: &Scene) -> Self {
        let (name, value) = cookie(session(scene), &run_id(scene));
        let (near, _) = cookie(session(scene) ^ 1, &run_id(scene));
        let (_, other) = cookie(session(scene), &run_id(scene).replace("-7000-", "-7001-"));
        let quoted = format!("{name}={value}");
        let sleeps =
            |which, before: &[&str], variables: &[(&str, &str)]| Bystander::sleeps(scene, before, which, variables);
        Self {
            all: vec![
                sleeps(10, &[], &[]),
                sleeps(11, &["setsid"], &[]),
                // Cookies of another session, and of another run.
                sleeps(12, &["setsid"], &[(&near, &value)]),
                sleeps(13, &["setsid"], &[(&name, &other)]),
                // A value that is a cookie of ours.
                sleeps(14, &[], &[("QUOTED", &quoted)]),
                sleeps(15, &["nohup"], &[(&near, &other)]),
            ],
        }
    }

    #[track_caller]
    fn lives(&self) {
        self.all.iter().for_each(Bystander::lives);
    }
}

fn put(scene: &Scene, bytes: &[u8]) -> std::path::PathBuf {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&scene.ledger);
    let path = scene.ledger.join(format!("{}.ledger", run_id(scene).replace('-', "")));
    let _ = std::fs::remove_file(&path);
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    path
}

/// The report on a ledger of these records.
fn report_on(scene: &Scene, records: &[Value]) -> String {
    put(scene, records.iter().map(line).collect::<String>().as_bytes());
    scene.sweep()
}

#[track_caller]
fn says(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "{part:?} is not in it:\n{report}");
    }
}

/// So that the tests below prove something: this way a session is found.
#[test]
fn a_session_in_such_a_ledger_is_ended_and_the_crowd_is_not() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let crowd = Crowd::new(&scene);
    let since = now();
    let (name, value) = cookie(session(&scene), &run_id(&scene));
    let by_cookie = Bystander::sleeps(&scene, &["setsid"], 0, &[(&name, &value)]);
    let leader = Bystander::sleeps(&scene, &["setsid"], 1, &[]);
    let report = report_on(&scene, &[run(&scene), announced(&scene, since), identified(&leader.identity())]);
    says(&report, &["swept what `a_test` had left", &format!("ended: pid {}", by_cookie.pid())]);
    assert!(!by_cookie.handle.is_alive() && !leader.handle.is_alive(), "{report}");
    crowd.lives();
    assert!(!scene.ledger.exists());
}

#[test]
fn a_leader_that_the_rule_does_not_let_us_signal_is_named_and_lives() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let crowd = Crowd::new(&scene);
    let identity = |pid| json!(ProcessHandle::open(pid).unwrap().identity());
    // In this test's session, without a cookie.
    let not_a_leader = crowd.all[0].identity();
    let cases = [
        ("process 1", identity(1), "it is this process or one that started it"),
        ("the sweep's parent", identity(std::process::id()), "it is this process or one that started it"),
        ("a process in another's session", not_a_leader, "nothing ties it to the session"),
    ];
    for (what, leader, why) in cases {
        let sweep_with = |leader: &Value| {
            let begin = Instant::now();
            let report = report_on(&scene, &[run(&scene), announced(&scene, 0), identified(leader)]);
            (begin.elapsed(), report)
        };
        // Whoever is waited for is so each time, for 5 s. What else takes time takes it of a sweep without anybody, too.
        let is_waited_for = || sweep_with(&leader).0 > sweep_with(&somebody_dead()).0 + Duration::from_secs(4);
        assert!((0..3).any(|_| !is_waited_for()), "{what} is waited for, and is not to be signalled");
        let (_, report) = sweep_with(&leader);
        says(&report, &["0 ended", &format!("suspect, not signalled: pid {}", leader["pid"]), why]);
        assert!(!report.contains("still alive"), "{what} is not proven to be the run's:\n{report}");
        crowd.lives();
        assert!(!scene.ledger.exists(), "it would be looked at again by each run to come");
    }
}

#[test]
fn a_number_that_has_a_new_owner_is_nobodys_leader() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let crowd = Crowd::new(&scene);
    // It leads a session, and had the same number at another time.
    for change in [-1i64, 1, 1_000_000] {
        let leader = crowd.all[1].identity();
        let started = leader["started"].as_i64().unwrap() + change;
        let leader = with(leader, "started", started.max(0));
        let report = report_on(&scene, &[run(&scene), announced(&scene, 0), identified(&leader)]);
        says(&report, &["0 ended"]);
        crowd.lives();
    }
    for pid in [0u32, u32::MAX, i32::MAX as u32, i32::MAX as u32 + 1] {
        let leader = with(crowd.all[1].identity(), "pid", pid);
        says(&report_on(&scene, &[run(&scene), announced(&scene, 0), identified(&leader)]), &["0 ended"]);
        let owned = with(run(&scene), "owner", leader);
        says(&report_on(&scene, &[owned, announced(&scene, 0)]), &["0 ended"]);
        crowd.lives();
    }
}

/// Its number names its kernel session, too, and whoever is in that.
#[test]
fn the_session_of_a_numbers_new_owner_is_nobodys() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let script = format!("sleep {} & exec sleep {}", scene.nap(1), scene.nap(0));
    let mut command = std::process::Command::new("setsid");
    command.args(["sh", "-c", &script]);
    let owner = Bystander::new(command);
    let member = ProcessHandle::open(scene.sleeper(1)).unwrap();
    scene.sleeper(0);
    let started = owner.identity()["started"].as_i64().unwrap() - 1;
    let leader = with(owner.identity(), "started", started);
    let report = report_on(&scene, &[run(&scene), announced(&scene, 0), identified(&leader)]);
    says(&report, &["0 ended"]);
    owner.lives();
    assert!(member.is_alive(), "{report}");
}

#[test]
fn a_suspect_that_ends_during_the_sweep_is_not_named() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let mut command = std::process::Command::new("sleep");
    command.arg("1");
    let short = Bystander::new(command);
    // Looked for until then.
    let unborn = with(with(announced(&scene, 0), "id", 2), "recipe", json!({"by": "unknown", "backend": "Mine"}));
    let run = with(run(&scene), "create_within_ms", 2_000);
    let report = report_on(&scene, &[run, announced(&scene, 0), identified(&short.identity()), unborn]);
    says(&report, &["0 ended"]);
    assert!(!report.contains("suspect, not signalled"), "{report}");
}

/// Its maker was killed before the first record, or is about to write it.
#[test]
fn an_empty_ledger_is_removed_unless_its_maker_holds_it() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let maker = std::fs::File::open(put(&scene, b"")).unwrap();
    maker.lock().unwrap();
    says(&scene.sweep(), &["no dead run was found", "left alone", "its test process is beginning"]);
    assert_eq!(scene.ledgers().len(), 1);
    drop(maker);
    assert_eq!(scene.sweep(), "no dead run was found");
    assert!(!scene.ledger.exists());
}

#[test]
fn a_cookie_out_of_its_time_is_named_and_lives() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let (name, value) = cookie(session(&scene), &run_id(&scene));
    let early = Bystander::sleeps(&scene, &["setsid"], 0, &[(&name, &value)]);
    std::thread::sleep(Duration::from_millis(30));
    let report = report_on(&scene, &[run(&scene), announced(&scene, now())]);
    says(&report, &["0 ended", "suspect, not signalled", "it started before the session was asked for"]);
    early.lives();
    // The run had died, and its servers' time was over.
    let path = put(&scene, [run(&scene), announced(&scene, 0)].iter().map(line).collect::<String>().as_bytes());
    let then = SystemTime::now() - Duration::from_secs(60);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    says(&scene.sweep(), &["0 ended", "it started after the session's time"]);
    early.lives();
}

#[test]
fn a_daemon_with_our_cookie_that_serves_others_by_now_is_named_and_lives() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let (name, value) = cookie(session(&scene), &run_id(&scene));
    // Its second child comes when it is told to, after the run's time.
    let go = scene.path("go");
    let script = format!(
        "sleep {} & until [ -e '{}' ]; do sleep 0.02; done; sleep {} & wait",
        scene.nap(1),
        go.display(),
        scene.nap(2)
    );
    let mut command = std::process::Command::new("setsid");
    command.args(["sh", "-c", &script]).env(&name, &value);
    let daemon = Bystander::new(command);
    let path = put(&scene, [run(&scene), announced(&scene, 0)].iter().map(line).collect::<String>().as_bytes());
    let first = ProcessHandle::open(scene.sleeper(1)).unwrap();
    let then = SystemTime::now() - Duration::from_secs(1);
    std::thread::sleep(Duration::from_millis(50));
    scene.note("go");
    let strangers = ProcessHandle::open(scene.sleeper(2)).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    let report = scene.sweep();
    says(&report, &["it serves others by now", "it started after the session's time"]);
    daemon.lives();
    assert!(strangers.is_alive() && !first.is_alive(), "{report}");
}

#[test]
fn another_users_process_is_named_and_lives() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    if !geteuid().is_root() {
        return eprintln!("skipped: only root can start a process of another user");
    }
    let (name, value) = cookie(session(&scene), &run_id(&scene));
    let words = ["setsid", "setpriv", "--reuid=65534", "--clear-groups"];
    let theirs = Bystander::sleeps(&scene, &words, 0, &[(&name, &value)]);
    let report = report_on(&scene, &[run(&scene), announced(&scene, 0)]);
    says(&report, &["0 ended", "suspect, not signalled", "it belongs to another user"]);
    let report = report_on(&scene, &[run(&scene), announced(&scene, 0), identified(&theirs.identity())]);
    says(&report, &["0 ended", "suspect, not signalled", "it belongs to another user"]);
    theirs.lives();
}

#[test]
fn a_ledger_that_cannot_be_of_a_dead_run_of_ours_is_left_alone() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let crowd = Crowd::new(&scene);
    let leader = crowd.all[1].identity();
    let owner = |field: &str, value: Value| {
        let run = run(&scene);
        let owner = with(run["owner"].clone(), field, value);
        with(run, "owner", owner)
    };
    let lives = "its test process, keeper or body lives, or belongs to another boot or container";
    let keeper = json!({"kind": "keeper", "identity": crowd.all[0].identity()});
    let [announced_body, identified_body] =
        [announced(&scene, 0), identified(&crowd.all[0].identity())].map(|record| with(record, "id", 0));
    let cases: [(Vec<Value>, &str); 10] = [
        (vec![owner("boot", json!("0123456789abcdef0123456789abcdef"))], lives),
        (vec![owner("pid_namespace", json!(4_026_500_000u64))], lives),
        (vec![with(run(&scene), "owner", crowd.all[0].identity())], lives),
        (vec![run(&scene), keeper], lives),
        (vec![run(&scene), announced_body, identified_body], lives),
        (vec![with(run(&scene), "format", 2)], "it has format 2 of a later release"),
        (vec![with(run(&scene), "user", 4_294_967_294u32)], "it belongs to another user"),
        (
            vec![with(run(&scene), "run", "01920000-0000-7000-8000-0000000000aa")],
            "its name is not that of the run in it",
        ),
        (vec![announced(&scene, 0), run(&scene)], "it does not begin with the record that says whose run it is"),
        (vec![json!({"kind": "kept"})], "it does not begin with the record that says whose run it is"),
    ];
    for (mut records, why) in cases {
        records.extend([announced(&scene, 0), identified(&leader)]);
        let report = report_on(&scene, &records);
        says(&report, &["no dead run was found", "left alone", why]);
        crowd.lives();
        assert_eq!(scene.ledgers().len(), 1);
    }
}

/// Its maker was killed before it wrote a word, or is about to.
#[test]
fn an_empty_ledger_is_removed_unless_somebody_begins_it() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let path = put(&scene, &[]);
    let maker = std::fs::File::open(path).unwrap();
    maker.lock().unwrap();
    says(&scene.sweep(), &["no dead run was found", "left alone", "its test process is beginning"]);
    drop(maker);
    assert_eq!(scene.sweep(), "no dead run was found");
    assert!(!scene.ledger.exists());
}

#[test]
fn a_control_group_that_is_not_this_runs_marks_nobody() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let crowd = Crowd::new(&scene);
    let group = |path: &str, kernel: &str| json!({"kind": "cgroup", "group": {"path": path, "kernel_path": kernel}});
    for path in
        ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/", "/sys/fs/cgroup", "/", "", "/tmp", "..", "/proc/1"]
    {
        for kernel in ["/", "", "/termleash-x"] {
            says(&report_on(&scene, &[run(&scene), group(path, kernel), announced(&scene, 0)]), &["0 ended"]);
            crowd.lives();
        }
    }
    // One that looks like ours, and is another run's.
    let Some((path, record, inside)) = stranger_in_a_group(&scene, &format!("test{}", std::process::id())) else {
        return;
    };
    let report = report_on(&scene, &[run(&scene), record, announced(&scene, 0)]);
    let is_alive = inside.handle.is_alive();
    let is_there = path.exists();
    drop(inside);
    // The kernel needs a moment to notice.
    crate::scene::until("the group's end", || {
        let _ = std::fs::remove_dir(&path);
        (!path.exists()).then_some(())
    });
    assert!(is_alive && is_there, "{report}");
    crowd.lives();
}

/// Somebody in a control group of this name, and a ledger's record of that; where there is none, why not is said.
fn stranger_in_a_group(scene: &Scene, name: &str) -> Option<(std::path::PathBuf, Value, Bystander)> {
    let tops = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let Some(top) = tops.into_iter().find(|top| std::path::Path::new(top).join("cgroup.procs").exists()) else {
        eprintln!("skipped: there is no cgroup v2");
        return None;
    };
    let path = format!("{top}/termleash-{name}");
    if let Err(cause) = std::fs::create_dir(&path) {
        eprintln!("skipped: {path}: {cause}");
        return None;
    }
    let inside = Bystander::sleeps(scene, &["setsid"], 0, &[]);
    std::fs::write(format!("{path}/cgroup.procs"), inside.pid().to_string()).unwrap();
    let record = json!({"kind": "cgroup", "group": {"path": path, "kernel_path": &path[top.len()..]}});
    Some((path.into(), record, inside))
}

/// It leads to whoever lives in the group.
#[test]
fn a_ledger_stays_until_its_control_group_is_empty() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let Some((path, record, inside)) = stranger_in_a_group(&scene, &run_id(&scene).replace('-', "")) else { return };
    std::thread::sleep(Duration::from_millis(30));
    // The session was asked for when whoever is in there had started.
    let report = report_on(&scene, &[run(&scene), record, announced(&scene, now())]);
    let is_alive = inside.handle.is_alive();
    let ledgers = scene.ledgers().len();
    drop(inside);
    let last = scene.sweep();
    assert!(is_alive && ledgers == 1, "{report}");
    says(&report, &["0 ended", "it started before the session was asked for", "could not be removed"]);
    says(&last, &["swept what `a_test` had left: 0 ended"]);
    assert!(!scene.ledger.exists() && !path.exists(), "{last}");
}

#[test]
fn an_endless_time_for_creations_keeps_no_sweep_waiting() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let (name, value) = cookie(session(&scene), &run_id(&scene));
    let crowd = Crowd::new(&scene);
    for time in [u64::MAX, u64::MAX / 2, 3_600_000 * 24 * 365] {
        let unknown = with(announced(&scene, 0), "recipe", json!({"by": "unknown", "backend": "Mine"}));
        let records = [with(run(&scene), "create_within_ms", time), unknown];
        let path = put(&scene, records.iter().map(line).collect::<String>().as_bytes());
        let then = SystemTime::now() - Duration::from_secs(24 * 3600);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        // The run had been dead for a day.
        let late = Bystander::sleeps(&scene, &["setsid"], 0, &[(&name, &value)]);
        let report = scene.sweep();
        says(&report, &["0 ended", "it started after the session's time"]);
        late.lives();
        crowd.lives();
    }
}

#[test]
fn what_is_torn_costs_what_it_said_and_the_report_says_so() {
    let Some(scene) = Scene::new(plays_nothing) else { return };
    let crowd = Crowd::new(&scene);
    let (name, value) = cookie(session(&scene), &run_id(&scene));
    let since = now();
    let [run, announced] = [line(&run(&scene)), line(&announced(&scene, since))];
    let identified = line(&identified(&crowd.all[1].identity()));
    let damaged = "1 records of the ledger could not be read";
    // The last one: it would have made the bystander a leader.
    let ours = Bystander::sleeps(&scene, &["setsid"], 0, &[(&name, &value)]);
    put(&scene, format!("{run}{announced}{}", &identified[..identified.len() / 2]).as_bytes());
    let report = scene.sweep();
    says(&report, &["1 ended", damaged]);
    assert!(!ours.handle.is_alive());
    // One in the middle: nothing tells how to find the session.
    let ours = Bystander::sleeps(&scene, &["setsid"], 0, &[(&name, &value)]);
    put(&scene, format!("{run}{}\n{identified}", &announced[..announced.len() / 2]).as_bytes());
    let report = scene.sweep();
    says(&report, &["0 ended", damaged]);
    ours.lives();
    // A hole, as of a disk that lost a block.
    put(&scene, [run.as_bytes(), &[0; 4096], b"\n", identified.as_bytes()].concat().as_slice());
    says(&scene.sweep(), &["0 ended", damaged]);
    crowd.lives();
}

/// Numbers and cookies that are a bit from a bystander's.
#[test]
fn a_flipped_bit_makes_nobody_ours() {
    let Some(scene) = Scene::new(|me| {
        let file =
            std::fs::read_dir(std::env::var("TERMLEASH_LEDGER").unwrap()).unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&file).unwrap();
        let mut reports = 0;
        for bit in (0..whole.len() * 8).step_by(7) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&file, &bytes)
                .or_else(|_| {
                    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
                    let _ = std::fs::DirBuilder::new().mode(0o700).create(file.parent().unwrap());
                    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file)?;
                    std::io::Write::write_all(&mut file, &bytes)
                })
                .unwrap();
            let report = termleash::sweep().unwrap();
            let ended: usize = report.runs().iter().map(|run| run.ended().len()).sum();
            assert_eq!(ended, 0, "bit {bit}: {report}");
            let says_why = report.left_alone().len() == 1 || report.runs().iter().any(|run| !run.undone().is_empty());
            assert!(says_why, "bit {bit}: {report}");
            reports += 1;
        }
        me.note("reports", reports);
    }) else {
        return;
    };
    let (near, value) = cookie(session(&scene) ^ 1, &run_id(&scene));
    let bystander = Bystander::sleeps(&scene, &["setsid"], 0, &[(&near, &value)]);
    let crowd = Crowd::new(&scene);
    let mut leader = bystander.identity();
    // Another number, one bit away, of which there is no such process.
    leader["pid"] = json!(leader["pid"].as_u64().unwrap() ^ 1);
    put(
        &scene,
        [run(&scene), announced(&scene, 0), identified(&leader)].iter().map(line).collect::<String>().as_bytes(),
    );
    let start = std::time::Instant::now();
    let (status, text) = scene.start("flips", &[]).end();
    assert!(status.success(), "{status}:\n{text}");
    println!("{} reports in {:?}", scene.noted("reports"), start.elapsed());
    bystander.lives();
    crowd.lives();
}
