//! What have dead runs left: ledgers, control groups, home directories of servers?

use crate::ledger::directory::Directory;
use crate::ledger::home;
use crate::ledger::listing::{Listed, runs};
use crate::process::cgroup::{groups_of_ours, is_populated, own_directory};
use crate::process::cookie::Cookie;
use crate::server::preflight::checklist::Finding;
use crate::settings::Settings;
use crate::sys::{self, ProcReader};
use once_cell::sync::Lazy;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MOST_NAMED: usize = 5;

/// What is there. Groups and directories are listed before the ledgers: what is new among them is in those by then.
pub(crate) struct Looked {
    groups: Vec<(String, PathBuf)>,
    homes: Vec<(String, PathBuf)>,
    pub(crate) runs: Result<Vec<Listed>, String>,
}

pub(crate) fn look() -> Looked {
    let groups = own_directory().ok().and_then(|directory| groups_of_ours(&directory).ok()).unwrap_or_default();
    // Some are made in a shorter place than that for temporary files. That comes second: all share it, and the first few that are
    // found are named.
    let mut places = vec![std::env::temp_dir(), home::place()];
    places.dedup();
    let homes = places.iter().flat_map(|place| homes_in(place)).collect();
    let place = Settings::from_env().map(|settings| Directory::place(&settings));
    let runs = place.and_then(|place| runs(&place)).map_err(|cause| cause.to_string());
    Looked { groups, homes, runs }
}

fn homes_in(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let home = |path: PathBuf| {
        let digits = home::digits_in(path.file_name()?.to_str()?)?.to_owned();
        let facts = sys::facts_of_link(&path).ok()?;
        (facts.is_directory && facts.owner == sys::own_uid()).then_some((digits, path))
    };
    entries.flatten().filter_map(|entry| home(entry.path())).collect()
}

pub(crate) fn judge(looked: &Looked) -> Finding {
    let runs = match &looked.runs {
        Ok(runs) => runs,
        Err(cause) => return Finding::could_not_look(cause),
    };
    let living = || runs.iter().filter(|listed| !listed.is_dead).filter_map(|listed| listed.run.as_ref().ok());
    let run_ids: HashSet<String> = living().map(|run| run.run.simple().to_string()).collect();
    let cookies: HashSet<String> =
        living().flat_map(|run| run.open.values()).filter_map(|open| open.cookie.map(home::digits_of)).collect();
    let mut found = Vec::new();
    for listed in runs.iter().filter(|listed| listed.is_dead) {
        let Ok(run) = &listed.run else { continue };
        let sessions = run.open.len();
        let name = run.shown_name();
        found.push(format!("the ledger `{}` of `{name}`, dead, with {sessions} sessions", listed.path.display()));
    }
    let still = |path: &Path| sys::facts_of_link(path).is_ok();
    let mut elsewhere = 0;
    // One pass for all of them, and none where nothing is left.
    let carried = Lazy::new(carried);
    for (digits, path) in looked.homes.iter().filter(|(digits, path)| !cookies.contains(digits) && still(path)) {
        if is_new(path) || carried.as_ref().is_none_or(|carried| carried.contains(digits)) {
            elsewhere += 1;
        } else {
            found.push(format!("the directory `{}` of no living run", path.display()));
        }
    }
    for (_, path) in looked.groups.iter().filter(|(name, path)| !run_ids.contains(name) && still(path)) {
        // With processes in it, or new, it is of a run that has another directory of ledgers.
        if is_populated(path).unwrap_or(true) || is_new(path) {
            elsewhere += 1;
        } else {
            found.push(format!("the control group `{}`, empty and of no living run", path.display()));
        }
    }
    let unreadable: Vec<String> = runs
        .iter()
        .filter_map(|listed| Some(format!("{}: {}", listed.path.display(), listed.run.as_ref().err()?)))
        .collect();
    let others =
        if elsewhere == 0 { String::new() } else { format!("; {elsewhere} groups or directories of runs elsewhere") };
    let beside = if unreadable.is_empty() { String::new() } else { format!("; not read: {}", unreadable.join(", ")) };
    if found.is_empty() {
        return Finding::passed(format!("none; {} runs live{others}{beside}", living().count()));
    }
    let more = found.len().saturating_sub(MOST_NAMED);
    found.truncate(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let to_do = "call `termleash::sweep()`, which ends and removes what is proven to be theirs and says what it leaves; the \
                 start of the next run does so, too. What it leaves is for you to look at";
    Finding::failed(format!("{}{more}{others}{beside}", found.join("; ")), to_do)
}

/// Made a moment ago: its run may not have told its ledger yet.
fn is_new(path: &Path) -> bool {
    const NEW: Duration = Duration::from_secs(60);
    let modified = std::fs::symlink_metadata(path).and_then(|facts| facts.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|ago| ago < NEW))
}

/// After which cookies that living processes carry a home directory could be named; `None` if that cannot be seen.
fn carried() -> Option<HashSet<String>> {
    let mut reader = ProcReader::new().ok()?;
    let mut carried = HashSet::new();
    for pid in reader.pids().ok()? {
        let Ok(environ) = reader.read(pid, "environ") else { continue };
        carried.extend(Cookie::find_all(environ).map(home::digits_of));
    }
    Some(carried)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::ledger::record::tests::{announced, samples};
    use crate::ledger::record::{Parsed, Record};
    use crate::ledger::replay::Replayed;

    #[test]
    fn a_home_is_a_directory_of_our_own_with_the_name_of_a_cookie() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tl-0123456789abcdef", "tl-0123456789abcdeg", "tl-12", "x-0123456789abcdef"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("tl-1123456789abcdef"), "").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("tl-2123456789abcdef")).unwrap();
        // Only root can give one away.
        let theirs = folder.path().join("tl-3123456789abcdef");
        std::fs::create_dir(&theirs).unwrap();
        if std::os::unix::fs::chown(&theirs, Some(65_534), None).is_err() {
            std::fs::remove_dir(&theirs).unwrap();
        }
        let homes = homes_in(folder.path());
        assert_eq!(homes.iter().map(|(digits, _)| digits.as_str()).collect::<Vec<_>>(), ["0123456789abcdef"]);
    }

    fn judged(homes: Vec<(String, PathBuf)>) -> crate::server::preflight::checklist::Finding {
        judge(&Looked { groups: Vec::new(), homes, runs: Ok(Vec::new()) })
    }

    fn make_old(path: &Path) {
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }

    #[test]
    fn a_home_is_left_over_if_it_is_old_and_no_living_process_carries_its_cookie() {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};
        let folder = tempfile::tempdir().unwrap();
        let cookie = Cookie::new();
        let digits = home::digits_of(cookie);
        let path = folder.path().join(format!("tl-{digits}"));
        std::fs::create_dir(&path).unwrap();
        let homes = || vec![(digits.clone(), path.clone())];
        assert!(judged(homes()).found.contains("1 groups or directories"), "a new one may be anybody's");
        make_old(&path);
        let mut command = Command::new("sh");
        command.args(["-c", "echo; read line"]).env(cookie.name(), cookie.value());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
        let carried = judged(homes());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(carried.found.contains("1 groups or directories"), "{carried:?}");
        let left = judged(homes());
        assert!(left.found.contains("of no living run"), "{left:?}");
    }

    /// A run with a server of this cookie.
    fn listed(is_dead: bool, cookie: Cookie) -> Listed {
        let announced = match announced(1) {
            Record::Announced { id, since, label, made_at, recipe, home, .. } => {
                Record::Announced { id, cookie: Some(cookie), since, label, made_at, recipe, home }
            }
            other => other,
        };
        let records = vec![samples().remove(0), announced];
        let run = Replayed::new(Parsed { records, damaged: 0 }).unwrap();
        Listed { path: "/x/1.ledger".into(), run: Ok(run), is_dead }
    }

    #[test]
    fn a_home_of_a_run_that_lives_is_not_left_over_and_one_of_a_dead_run_is() {
        let folder = tempfile::tempdir().unwrap();
        make_old(folder.path());
        let cookie = Cookie::new();
        let homes = || vec![(home::digits_of(cookie), folder.path().to_owned())];
        let judged =
            |is_dead| judge(&Looked { groups: Vec::new(), homes: homes(), runs: Ok(vec![listed(is_dead, cookie)]) });
        let (living, dead) = (judged(false), judged(true));
        assert_eq!(living.found, "none; 1 runs live");
        assert!(dead.found.contains("the directory `") && dead.found.contains("dead, with 1 sessions"), "{dead:?}");
    }

    #[test]
    fn what_has_gone_since_it_was_listed_is_not_left_over() {
        let gone = || tempfile::tempdir().unwrap().path().to_owned();
        let (groups, homes) = (vec![("0".to_owned(), gone())], vec![(home::digits_of(Cookie::new()), gone())]);
        assert_eq!(judge(&Looked { groups, homes, runs: Ok(Vec::new()) }).found, "none; 0 runs live");
    }

    #[test]
    fn a_group_is_left_over_if_it_is_old_and_empty_and_no_run_that_lives_has_it() {
        let living = listed(false, Cookie::new());
        let run = living.run.as_ref().unwrap().run.simple().to_string();
        let runs = || Ok(vec![listed_as(&living)]);
        let group = |events: &str, is_old| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("cgroup.events"), events).unwrap();
            if is_old {
                make_old(folder.path());
            }
            folder
        };
        let judged = |name: &str, folder: &tempfile::TempDir| {
            judge(&Looked { groups: vec![(name.into(), folder.path().into())], homes: Vec::new(), runs: runs() }).found
        };
        let (empty, full, new) =
            (group("populated 0\n", true), group("populated 1\n", true), group("populated 0\n", false));
        assert_eq!(judged(&run, &empty), "none; 1 runs live");
        assert!(judged("0", &empty).contains("the control group `"));
        for elsewhere in [&full, &new] {
            assert_eq!(judged("0", elsewhere), "none; 1 runs live; 1 groups or directories of runs elsewhere");
        }
    }

    fn listed_as(listed: &Listed) -> Listed {
        Listed { path: listed.path.clone(), run: listed.run.clone(), is_dead: listed.is_dead }
    }

    #[test]
    fn many_are_counted_and_what_could_not_be_read_is_told() {
        let judged = |dead: usize| {
            let mut runs: Vec<Listed> = (0..dead).map(|_| listed(true, Cookie::new())).collect();
            runs.push(Listed { path: "/x/2.ledger".into(), run: Err("it is damaged".into()), is_dead: false });
            judge(&Looked { groups: Vec::new(), homes: Vec::new(), runs: Ok(runs) }).found
        };
        assert_eq!(judged(0), "none; 0 runs live; not read: /x/2.ledger: it is damaged");
        let (five, seven) = (judged(MOST_NAMED), judged(MOST_NAMED + 2));
        assert!(five.matches("the ledger").count() == MOST_NAMED && !five.contains(" more"), "{five}");
        assert!(
            seven.matches("the ledger").count() == MOST_NAMED && seven.contains(" and 2 more; not read"),
            "{seven}"
        );
    }

    /// With a long path for temporary files homes are made elsewhere.
    #[test]
    fn homes_are_looked_for_where_they_are_made() {
        const FAR: &str = "a-place-whose-path-is-too-long-for-sockets";
        let name = "server::preflight::leftovers::tests::homes_are_looked_for_where_they_are_made";
        if !std::env::temp_dir().ends_with(FAR) {
            let folder = tempfile::tempdir().unwrap();
            let far = folder.path().join(FAR);
            std::fs::create_dir(&far).unwrap();
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let told = again.args(["--exact", name]).env("TMPDIR", far).output().unwrap();
            assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
        }
        let cookie = Cookie::new();
        let home = home::Home::of(cookie);
        home.create(cookie).unwrap();
        let found = look().homes.iter().filter(|(_, path)| path == home.path()).count();
        home.remove(Some(cookie)).unwrap();
        assert_eq!(found, 1);
    }
}
