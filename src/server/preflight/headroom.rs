//! How much more can this machine, this container and this process have: pseudo-terminals, descriptors, memory?

use crate::probe::descriptors::Descriptors;
use crate::probe::free_memory::FreeMemory;
use crate::server::preflight::checklist::Finding;
use crate::server::preflight::parse::{number, open_files};
use crate::sys;
use bytesize::ByteSize;
use std::fs;
use std::path::Path;

/// The wanted headroom, and what there is.
pub(crate) fn ptys(wanted: u64) -> Finding {
    let read = |name: &str| {
        let file = format!("/proc/sys/kernel/pty/{name}");
        read(Path::new(&file), number)
    };
    match (read("nr"), read("max"), read("reserve")) {
        (Ok(open), Ok(most), Ok(reserved)) => judge_ptys(open, most, reserved, wanted),
        (Err(cause), ..) | (_, Err(cause), _) | (.., Err(cause)) => Finding::could_not_look(cause),
    }
}

fn judge_ptys(open: u64, most: u64, reserved: u64, wanted: u64) -> Finding {
    // The reserve is for the first mount of devpts alone.
    let free = most.saturating_sub(reserved).saturating_sub(open);
    let found = format!("{free} free ({open} are open on this machine, of {most} with {reserved} in reserve)");
    if free >= wanted {
        return Finding::passed(found);
    }
    let to_do = format!(
        "close terminals, or raise the limit as root: `sysctl kernel.pty.max={}`; {wanted} free are asked for",
        most.saturating_add(wanted)
    );
    Finding::failed(found, to_do)
}

pub(crate) fn descriptors(wanted: u64) -> Finding {
    let counted = Descriptors::count().map_err(|cause| format!("open descriptors cannot be counted: {cause}"));
    let limits = sys::descriptor_limits().map_err(|cause| format!("their limit cannot be read: {cause}"));
    match (counted, limits) {
        (Ok(open), Ok((soft, hard))) => {
            let machine = read(Path::new("/proc/sys/fs/file-nr"), open_files).ok();
            judge_descriptors(open as u64, soft, hard, machine, wanted)
        }
        (Err(cause), _) | (_, Err(cause)) => Finding::could_not_look(cause),
    }
}

fn judge_descriptors(open: u64, soft: u64, hard: u64, machine: Option<(u64, u64)>, wanted: u64) -> Finding {
    let many = |limit: u64| if limit == u64::MAX { "no limit".to_owned() } else { limit.to_string() };
    let free = soft.saturating_sub(open);
    let found =
        format!("{free} free ({open} open in this process, soft limit {}, hard limit {})", many(soft), many(hard));
    if free < wanted {
        let to_do = if hard.saturating_sub(open) >= wanted {
            format!(
                "`ulimit -n {}` before the tests, or `termleash::process::raise_descriptor_limit` in them; {wanted} free are \
                 asked for",
                open.saturating_add(wanted)
            )
        } else {
            format!(
                "raise the hard limit (limits.conf, `LimitNOFILE=`, `docker run --ulimit`); {wanted} free are asked for"
            )
        };
        return Finding::failed(found, to_do);
    }
    match machine {
        Some((open, most)) if most.saturating_sub(open) < wanted => {
            let to_do = "find who has so many files open (`lsof`), or raise `fs.file-max` as root";
            Finding::failed(format!("the machine has {open} files open, of {most}"), to_do)
        }
        _ => Finding::passed(found),
    }
}

pub(crate) fn memory(wanted: u64) -> Finding {
    match FreeMemory::read() {
        Ok(free) => judge_memory(&free, wanted),
        Err(cause) => Finding::could_not_look(cause),
    }
}

fn judge_memory(memory: &FreeMemory, wanted: u64) -> Finding {
    let shown = |bytes: u64| ByteSize::b(bytes).to_string();
    let mut found = format!("{} available on this machine", shown(memory.machine));
    if let Some((left, path)) = memory.tightest_group() {
        found += &format!(", {} left in the control group `{}`", shown(*left), path.display());
    }
    let free = memory.bytes();
    if free >= wanted {
        return Finding::passed(found);
    }
    let where_to =
        if free < memory.machine { "raise the group's or container's limit" } else { "end what is not needed" };
    let to_do =
        format!("{where_to}; {} are asked for: what runs out of memory ends by SIGKILL, anywhere", shown(wanted));
    Finding::failed(found, to_do)
}

fn read<T>(file: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    let text = fs::read_to_string(file).map_err(|cause| format!("{} cannot be read: {cause}", file.display()))?;
    parse(&text).ok_or_else(|| format!("{} does not say what was expected: {:?}", file.display(), text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::preflight::checklist::CheckOutcome;
    use insta::assert_snapshot;
    use std::path::PathBuf;

    fn text(finding: &Finding) -> String {
        format!("{:?}: {}\nto do: {}", finding.outcome, finding.found, finding.to_do)
    }

    #[test]
    fn ptys_near_their_limit_are_named_with_what_is_in_reserve() {
        assert_eq!(judge_ptys(100, 4096, 1024, 64).outcome, CheckOutcome::Passed);
        assert_snapshot!(text(&judge_ptys(3020, 4096, 1024, 64)), @r"
        Failed: 52 free (3020 are open on this machine, of 4096 with 1024 in reserve)
        to do: close terminals, or raise the limit as root: `sysctl kernel.pty.max=4160`; 64 free are asked for
        ");
        assert_eq!(judge_ptys(9, 4, 8, 1).outcome, CheckOutcome::Failed);
    }

    #[test]
    fn descriptors_are_counted_against_the_soft_limit_and_the_hard_one_says_what_helps() {
        assert_eq!(judge_descriptors(10, u64::MAX, u64::MAX, None, 256).outcome, CheckOutcome::Passed);
        assert_snapshot!(text(&judge_descriptors(10, 64, 4096, None, 256)), @r"
        Failed: 54 free (10 open in this process, soft limit 64, hard limit 4096)
        to do: `ulimit -n 266` before the tests, or `termleash::process::raise_descriptor_limit` in them; 256 free are asked for
        ");
        assert_snapshot!(text(&judge_descriptors(10, 64, 64, None, 256)), @r"
        Failed: 54 free (10 open in this process, soft limit 64, hard limit 64)
        to do: raise the hard limit (limits.conf, `LimitNOFILE=`, `docker run --ulimit`); 256 free are asked for
        ");
        assert_snapshot!(text(&judge_descriptors(10, 1024, 4096, Some((990, 1000)), 256)), @r"
        Failed: the machine has 990 files open, of 1000
        to do: find who has so many files open (`lsof`), or raise `fs.file-max` as root
        ");
    }

    #[test]
    fn the_tightest_of_machine_and_groups_decides() {
        let group = |left: u64, path: &str| (left << 20, PathBuf::from(path));
        let judge_memory = |machine, groups: &[(u64, PathBuf)], wanted| {
            judge_memory(&FreeMemory { machine, groups: groups.to_vec() }, wanted)
        };
        assert_eq!(judge_memory(1 << 30, &[], 256 << 20).outcome, CheckOutcome::Passed);
        assert_snapshot!(text(&judge_memory(1 << 30, &[group(512, "/g"), group(100, "/g/h")], 256 << 20)), @r"
        Failed: 1.0 GiB available on this machine, 100.0 MiB left in the control group `/g/h`
        to do: raise the group's or container's limit; 256.0 MiB are asked for: what runs out of memory ends by SIGKILL, anywhere
        ");
        assert_snapshot!(text(&judge_memory(1 << 27, &[], 256 << 20)), @r"
        Failed: 128.0 MiB available on this machine
        to do: end what is not needed; 256.0 MiB are asked for: what runs out of memory ends by SIGKILL, anywhere
        ");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let why = read(Path::new("/no/such/file"), number).unwrap_err();
        assert!(why.contains("/no/such/file"), "{why}");
    }
}
