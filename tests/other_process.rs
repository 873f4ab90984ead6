//! Another process under leak check and hunt: each leak is named as what it is and as nothing else, and nothing where there is
//! none.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;
mod subject;

use std::cell::RefCell;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use subject::Subject;
use termleash::leak::{Confidence, Gauge, HuntReport, Kind, LeakHunt, LeakReport, Level, Resource, Snapshot, Verdict};
use termleash::process::ProcessHandle;
use termleash::{LeakCheck, block_on};

/// What is looked at: does nothing where the tests run.
#[test]
fn subject() {
    subject::serve_if_told();
}

/// Each leak that one look sees: the command, and what it is called.
const LEAKS: [(&str, Kind); 7] = [
    ("descriptor", Kind::Device),
    ("master", Kind::PtyMaster),
    ("slave", Kind::Process),
    ("zombie", Kind::Zombie),
    ("child", Kind::Process),
    ("setsid", Kind::Process),
    ("thread", Kind::Thread),
];

fn check(subject: &Subject) -> LeakCheck {
    let check = LeakCheck::of(&subject.handle()).unwrap().level(Level::Fail).exclusive();
    check.settle_within(Duration::from_millis(500))
}

fn kinds(report: &LeakReport) -> Vec<(Kind, usize)> {
    report.findings.iter().map(|finding| (finding.item().kind, finding.items.len())).collect()
}

#[test]
fn a_check_names_each_leak_and_nothing_else() {
    for (leak, kind) in LEAKS {
        let mut subject = Subject::start();
        let check = check(&subject);
        subject.tell("work");
        let report = check.find_blocking().unwrap();
        assert!(report.is_clean(), "{leak}: {report}");
        subject.tell(leak);
        let report = check.find_blocking().unwrap();
        assert_eq!((report.verdict, kinds(&report)), (Verdict::Leaked, vec![(kind, 1)]), "{leak}: {report}");
        let text = report.to_string();
        assert!(text.contains(&format!("of pid {}", subject.handle().pid())), "{text}");
        assert!(text.contains("nobody else uses that process"), "{text}");
        assert_eq!(LeakReport::from_json(&report.to_json()).unwrap(), report);
        // The baseline rolls forward.
        assert!(check.find_blocking().unwrap().is_clean());
    }
}

#[test]
fn who_holds_a_terminal_is_said() {
    let mut subject = Subject::start();
    let check = check(&subject);
    subject.tell("slave");
    let report = check.find_blocking().unwrap();
    let notes = &report.findings[0].item().notes;
    assert!(notes.iter().any(|note| note.starts_with("it has /dev/pts/")), "{report}");
}

#[test]
fn beside_others_it_is_suspicious_and_passes() {
    let mut subject = Subject::start();
    let check = LeakCheck::of(&subject.handle()).unwrap().level(Level::Fail);
    subject.tell("descriptor");
    let report = check.find_blocking().unwrap();
    assert_eq!(report.verdict, Verdict::Suspicious);
    assert!(report.to_string().contains("others may use that process"), "{report}");
}

#[test]
fn what_goes_meanwhile_is_no_leak() {
    let mut subject = Subject::start();
    let check = LeakCheck::of(&subject.handle()).unwrap().exclusive().settle_within(Duration::from_secs(2));
    subject.tell("breathe");
    let report = check.find_blocking().unwrap();
    // The connections are there until the next round; its threads end by themselves.
    assert!(kinds(&report).iter().all(|(kind, _)| *kind == Kind::Socket), "{report}");
}

#[test]
fn its_end_is_a_finding_that_says_how_it_ended_and_after_that_nothing_can_be_checked() {
    let mut subject = Subject::start();
    let check = LeakCheck::of(&subject.handle()).unwrap();
    let handle = subject.handle();
    subject.kill();
    while handle.is_alive() {
        std::thread::yield_now();
    }
    // A zombie: the kernel still says how.
    let report = check.find_blocking().unwrap();
    assert_eq!((report.verdict, kinds(&report)), (Verdict::Leaked, vec![(Kind::Ended, 1)]), "{report}");
    assert!(report.to_string().contains("it ended with signal 9 (SIGKILL)"), "{report}");
    let report = check.find_blocking().unwrap();
    assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
    subject.wait();
    assert!(LeakCheck::of(&handle).unwrap_err().to_string().contains("it has ended"));
}

#[test]
fn once_it_is_reaped_its_end_is_known_and_how_it_ended_is_not() {
    let mut subject = Subject::start();
    let check = LeakCheck::of(&subject.handle()).unwrap().exclusive();
    subject.kill();
    subject.wait();
    let report = check.find_blocking().unwrap();
    assert_eq!(kinds(&report), [(Kind::Ended, 1)], "{report}");
    assert!(report.to_string().contains("how it ended only its parent was told"), "{report}");
}

#[test]
fn a_process_that_execs_is_still_itself() {
    let mut subject = Subject::start();
    let check = check(&subject);
    subject.tell("exec");
    subject.tell("nothing");
    let report = check.find_blocking().unwrap();
    // Its threads are others, and nothing has ended.
    assert!(kinds(&report).iter().all(|(kind, _)| *kind == Kind::Thread), "{report}");
    subject.tell("descriptor");
    let report = check.find_blocking().unwrap();
    assert_eq!(kinds(&report), [(Kind::Device, 1)], "{report}");
}

#[test]
fn another_users_process_could_not_be_checked() {
    const WHOM: &str = "TEST_WHOM";
    if let Ok(pid) = std::env::var(WHOM) {
        let process = ProcessHandle::open(pid.parse().unwrap()).unwrap();
        let report = LeakCheck::of(&process).unwrap().level(Level::Fail).find_blocking().unwrap();
        assert_eq!(report.verdict, Verdict::CouldNotCheck, "{report}");
        assert!(report.to_string().contains("could not look at descriptors: Permission denied"), "{report}");
        return;
    }
    // Only root can run something as somebody else, and somebody else must be able to run this program.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("checker");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    open(directory.path());
    open(&program);
    let subject = Subject::start();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command.args(["--exact", "another_users_process_could_not_be_checked", "--nocapture", "--test-threads=1"]);
    command.env(WHOM, subject.handle().pid().to_string()).current_dir("/");
    children::command_in_child(command, &[]).passed();
}

fn hunt(subject: &Subject) -> LeakHunt {
    // A thread or a process takes some memory, too.
    let hunt = LeakHunt::on(&subject.handle()).level(Level::Fail).exclusive().warmup(2).gate(32 << 10);
    hunt.settle_within(Duration::from_millis(100)).quiet_window(Duration::from_millis(20)).sessions_per_round(1)
}

fn run(hunt: LeakHunt, subject: &mut Subject, commands: &[&str]) -> HuntReport {
    let subject = RefCell::new(subject);
    block_on(hunt.run(async |_| {
        commands.iter().for_each(|command| subject.borrow_mut().tell(command));
        Ok(())
    }))
    .unwrap()
}

fn leaked(report: &HuntReport) -> Vec<Gauge> {
    report.series.iter().filter(|series| series.verdict == Verdict::Leaked).map(|series| series.gauge).collect()
}

#[test]
fn a_hunt_names_each_leak_and_nothing_else() {
    let leaks = [
        ("descriptor", Gauge::Descriptors),
        ("master", Gauge::PtyMasters),
        ("slave", Gauge::Processes),
        ("zombie", Gauge::Zombies),
        ("child", Gauge::Processes),
        ("setsid", Gauge::Processes),
        ("thread", Gauge::Threads),
        ("heap", Gauge::Resident),
    ];
    for (leak, gauge) in leaks {
        let mut subject = Subject::start();
        let hunt = hunt(&subject);
        let report = run(hunt, &mut subject, &["work", leak]);
        assert_eq!((report.verdict, leaked(&report)), (Verdict::Leaked, vec![gauge]), "{leak}: {report}");
        let series = report.series.iter().find(|series| series.gauge == gauge).unwrap();
        if gauge == Gauge::Resident {
            assert!(matches!(series.confidence, Some(Confidence::ByChance(p)) if p < 0.01), "{report}");
            continue;
        }
        assert_eq!((series.per_round, series.confidence), (1.0, Some(Confidence::Grew(1.0))), "{leak}: {report}");
        assert!(report.to_string().contains("1.00 a session (grew in 100 % of the rounds)"), "{report}");
        assert_eq!(HuntReport::from_json(&report.to_json()).unwrap(), report);
    }
}

#[test]
fn a_hunt_names_what_still_costs_something_when_nothing_runs() {
    for (leak, gauge) in [("spin", Gauge::Processor), ("fork", Gauge::Forks)] {
        let mut subject = Subject::start();
        let hunt = hunt(&subject).quiet_window(Duration::from_millis(100)).rounds(18..=18);
        let report = run(hunt, &mut subject, &["work", leak]);
        assert_eq!((report.verdict, leaked(&report)), (Verdict::Leaked, vec![gauge]), "{leak}: {report}");
        assert!(report.to_string().contains("while nothing runs"), "{report}");
    }
}

/// It falls between the short windows, in some of the last rounds at least.
#[test]
fn what_works_now_and_then_is_found_by_a_long_window_and_not_without() {
    let mut subject = Subject::start();
    let hunt = hunt(&subject).rounds(18..=18);
    let report = run(hunt, &mut subject, &["beat"]);
    assert_eq!((report.verdict, leaked(&report)), (Verdict::Leaked, vec![Gauge::Forks]), "{report}");
    let forks = report.series.iter().find(|series| series.gauge == Gauge::Forks).unwrap();
    let window = Duration::from_millis(200);
    assert!(
        matches!(forks.confidence, Some(Confidence::MoreInLong { window: long, .. }) if long == window),
        "{report}"
    );
    assert!(report.to_string().contains("in every window of 200ms after the last round"), "{report}");
}

/// Processes that come and go, and terminals of strangers, for as long as it is held.
struct Neighbours {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Neighbours {
    fn noisy() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let open = || rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::CLOEXEC);
            let ptys: Vec<_> = (0..50).map(|_| open().unwrap()).collect();
            while !over.load(Ordering::Relaxed) {
                let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
                std::thread::sleep(Duration::from_millis(5));
                child.wait().unwrap();
            }
            drop(ptys);
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn without_a_leak_two_hundred_rounds_are_silent() {
    let mut subject = Subject::start();
    let hunt = hunt(&subject).rounds(200..=200);
    let report = run(hunt, &mut subject, &["work"]);
    assert_eq!((report.rounds, report.verdict), (200, Verdict::Clean), "{report}");
}

#[test]
fn beside_noisy_neighbours_a_leak_is_named_and_without_one_it_is_silent() {
    let _noise = Neighbours::noisy();
    let mut subject = Subject::start();
    let silent = hunt(&subject).rounds(60..=60);
    let report = run(silent, &mut subject, &["work"]);
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    let leaks = hunt(&subject);
    let report = run(leaks, &mut subject, &["work", "master"]);
    assert_eq!(leaked(&report), [Gauge::PtyMasters], "{report}");
}

#[test]
fn a_server_that_breathes_is_silent_and_a_leak_under_it_is_found() {
    let mut subject = Subject::start();
    let breathes = hunt(&subject).rounds(200..=200);
    let report = run(breathes, &mut subject, &["work", "breathe"]);
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    let leaks = hunt(&subject).rounds(60..=60);
    let report = run(leaks, &mut subject, &["breathe", "descriptor"]);
    assert_eq!(leaked(&report), [Gauge::Descriptors], "{report}");
}

#[test]
fn the_end_of_the_process_in_a_round_is_the_hunts_error() {
    let subject = RefCell::new(Subject::start());
    let hunt = hunt(&subject.borrow());
    let report = block_on(hunt.run(async |round| {
        if round == 4 {
            subject.borrow_mut().kill();
            subject.borrow_mut().wait();
            return Err("the connection was reset".into());
        }
        subject.borrow_mut().tell("work");
        Ok(())
    }));
    let Err(error) = report else { panic!("it cannot have run") };
    let text = error.to_string();
    assert!(text.contains("the connection was reset"), "{text}");
    assert!(text.contains("has ended in round 4 of a leak hunt"), "{text}");
}

/// Ends a subject while it is hunted on; as a zombie it is listed still, and once somebody has waited for it it is not.
fn end(subject: &Mutex<Subject>, is_reaped: bool) {
    let mut subject = subject.lock().unwrap();
    let handle = subject.handle();
    subject.kill();
    if is_reaped {
        subject.wait();
    }
    while handle.is_alive() {
        std::thread::yield_now();
    }
}

#[test]
fn the_end_of_the_process_between_two_rounds_or_after_the_last_is_the_hunts_error_too() {
    for is_reaped in [false, true] {
        let subject = Arc::new(Mutex::new(Subject::start()));
        let (of_hook, samples) = (Arc::clone(&subject), AtomicU64::new(0));
        let hunted = hunt(&subject.lock().unwrap()).quiet_window(Duration::ZERO).before_sample(async move || {
            if samples.fetch_add(1, Ordering::Relaxed) == 3 {
                end(&of_hook, is_reaped);
            }
            Ok(())
        });
        let error = block_on(hunted.run(async |_| Ok(()))).map(drop).unwrap_err();
        assert!(error.to_string().contains("has ended in round 4 of a leak hunt"), "{error}");

        let subject = Arc::new(Mutex::new(Subject::start()));
        let of_hook = Arc::clone(&subject);
        let hunted = hunt(&subject.lock().unwrap()).counts_only().rounds(7..=7).on_leak(async move |_| {
            end(&of_hook, is_reaped);
            Ok(String::new())
        });
        let round = async |_| {
            subject.lock().unwrap().tell("descriptor");
            Ok(())
        };
        let error = block_on(hunted.run(round)).map(drop).unwrap_err();
        assert!(error.to_string().contains("has ended in round 6 of a leak hunt"), "{error}");
    }
}

#[test]
fn without_windows_nothing_is_said_of_what_it_costs_and_a_leak_of_memory_has_no_items() {
    let mut subject = Subject::start();
    let hunt = hunt(&subject).quiet_window(Duration::ZERO);
    let report = run(hunt, &mut subject, &["heap"]);
    assert_eq!(leaked(&report), [Gauge::Resident], "{report}");
    assert!(report.left.is_none(), "{report}");
    assert!(report.series.iter().all(|series| series.gauge != Gauge::Processor), "{report}");
}

#[test]
fn hooks_are_asked_before_each_sample_and_told_of_a_leak_once() {
    let (prepared, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let subject = Subject::start();
    let (of_prepare, of_records, of_told) = (Arc::clone(&prepared), Arc::clone(&prepared), Arc::clone(&told));
    let hunt = hunt(&subject).counts_only().rounds(18..=18);
    let hunt = hunt.before_sample(async move || {
        of_prepare.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    // A record more with each sample, as if the server forgot to drop it.
    let hunt = hunt.records(async move || Ok(of_records.load(Ordering::Relaxed)));
    let hunt = hunt.on_leak(async move |report| {
        of_told.fetch_add(1, Ordering::Relaxed);
        Ok(format!("a snapshot after {} rounds", report.rounds))
    });
    let report = block_on(hunt.run(async |_| Ok(()))).unwrap();
    assert_eq!((leaked(&report), prepared.load(Ordering::Relaxed)), (vec![Gauge::Records], 19), "{report}");
    assert_eq!((report.on_leak.as_deref(), told.load(Ordering::Relaxed)), (Some("a snapshot after 18 rounds"), 1));
    assert!(report.to_string().contains("on_leak: a snapshot after 18 rounds"), "{report}");
}

#[test]
fn a_hook_that_hangs_is_given_up_and_takes_no_verdict_along() {
    let (subject, count) = (Subject::start(), AtomicU64::new(0));
    let hunt = hunt(&subject).counts_only().rounds(18..=18).hooks_within(Duration::from_millis(50));
    let hunt = hunt.records(async move || Ok(count.fetch_add(1, Ordering::Relaxed)));
    let report = block_on(hunt.on_leak(async |_| std::future::pending().await).run(async |_| Ok(()))).unwrap();
    let said = report.on_leak.as_deref().unwrap_or_default();
    assert!(said.starts_with("timed out after 50ms: `on_leak`"), "{said}");
    assert_eq!(leaked(&report), [Gauge::Records], "{report}");
}

#[test]
fn nothing_is_told_of_a_hunt_that_found_nothing() {
    let subject = Subject::start();
    let hunt = hunt(&subject).counts_only().rounds(7..=7).on_leak(async |_| Ok("a snapshot".into()));
    let report = block_on(hunt.run(async |_| Ok(()))).unwrap();
    assert_eq!((leaked(&report), report.on_leak.as_deref()), (vec![], None), "{report}");
}

#[test]
fn a_snapshot_says_how_much_there_is() {
    let mut subject = Subject::start();
    let counts = |subject: &Subject| Snapshot::of_process(&subject.handle(), Level::Paranoid).unwrap().counts();
    let before = counts(&subject);
    subject.tell("child");
    let after = counts(&subject);
    assert_eq!(before[2], (Resource::Processes, Some(0)));
    assert_eq!(after[2], (Resource::Processes, Some(1)));
    assert_eq!(after[1], before[1]);
}
