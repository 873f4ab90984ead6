//! The messages, each as a snapshot: the text is the product.

use crate::leak::{
    Attribution, Confidence, Finding, Gauge, HuntReport, Ignored, Item, Kind, LeakReport, Level, Memory, MemorySource,
    NotLookedAt, QuietWindows, Reason, Resource, Series, Settled, Verdict,
};
use crate::process::ProcessSummary;
use crate::report::console::Color;
use insta::assert_snapshot;
use std::time::Duration;

const KINDS: [Kind; 21] = [
    Kind::Session,
    Kind::File,
    Kind::Directory,
    Kind::Device,
    Kind::Pipe,
    Kind::Socket,
    Kind::PtyMaster,
    Kind::PtySlave,
    Kind::Epoll,
    Kind::Eventfd,
    Kind::Timerfd,
    Kind::Signalfd,
    Kind::Inotify,
    Kind::Pidfd,
    Kind::Memfd,
    Kind::Descriptor,
    Kind::Process,
    Kind::Zombie,
    Kind::Thread,
    Kind::Ended,
    Kind::Reference,
];

fn report(verdict: Verdict, findings: Vec<Finding>) -> LeakReport {
    LeakReport {
        name: Some("resize_reaches_the_program".into()),
        verdict,
        findings,
        settled: settled(43),
        lasted: Duration::from_millis(3260),
        memory: Some(Memory { before: 12 << 20, after: 13 << 20, peak: 20 << 20, private: None }),
        ..LeakReport::of_nothing(None, Level::Fail, Attribution::Exact(Reason::Nextest))
    }
}

fn settled(looks: u32) -> Settled {
    let mut settled = Settled::default();
    (settled.took, settled.looks) = (Duration::from_millis(2013), looks);
    settled
}

fn one(verdict: Verdict, item: Item) -> Finding {
    Finding { verdict, items: vec![item] }
}

/// As a probe describes one of that kind.
fn item(kind: Kind) -> Item {
    let (name, which) = match kind {
        Kind::Session => ("bash", Some("`pty-3`")),
        Kind::File => ("/tmp/output.log", None),
        Kind::Directory => ("/tmp", None),
        Kind::Device => ("/dev/null", None),
        Kind::Pipe => ("", Some("read end, inode 4711")),
        Kind::Socket => ("tcp to 127.0.0.1:4020", Some("from 127.0.0.1:50124")),
        Kind::PtyMaster => ("", Some("of /dev/pts/7")),
        Kind::PtySlave => ("", Some("/dev/pts/7")),
        Kind::Pidfd => ("", Some("of pid 4711")),
        Kind::Memfd => ("/memfd:frame (deleted)", None),
        Kind::Descriptor => ("[fanotify]", None),
        Kind::Process | Kind::Zombie => ("sleep 1000", None),
        Kind::Ended => ("my-server --port 4021", None),
        Kind::Thread => ("pty-reader", None),
        Kind::Reference => ("server::SessionManager", None),
        _ => ("", None),
    };
    let mut item = Item::new(kind, name, (kind != Kind::Reference).then_some(9));
    item.which = which.map(str::to_owned);
    match kind {
        Kind::Session => {
            item.number = Some(4711);
            item.age = Some(Duration::from_millis(1250));
            item.made_at = Some("tests/resize.rs:12:31".into());
            item.notes.push("it holds descriptors 9, 10".into());
        }
        Kind::Socket => item.state = Some("connected".into()),
        Kind::Process | Kind::Thread => {
            item.age = Some(Duration::from_millis(2050));
            item.state = Some("sleeping in futex_do_wait".into());
        }
        Kind::Ended => item.state = Some("it ended with exit status 3".into()),
        Kind::Reference => {
            item.state = Some("2 strong references".into());
            item.made_at = Some("tests/resize.rs:9:7".into());
        }
        _ => {}
    }
    item
}

#[test]
fn each_kind_is_named_with_what_to_do() {
    let findings = KINDS.map(|kind| one(Verdict::Leaked, item(kind))).to_vec();
    assert_snapshot!(report(Verdict::Leaked, findings));
}

#[test]
fn the_worst_comes_first_and_many_of_the_same_are_one() {
    let many = (9..59).map(|number| {
        let mut item = item(Kind::File);
        item.number = Some(number);
        item
    });
    let mut replaced = item(Kind::Socket);
    replaced.replaces = Some("a file (inode 81)".into());
    let findings = vec![
        one(Verdict::Interfered, replaced),
        Finding { verdict: Verdict::Leaked, items: many.collect() },
        one(Verdict::Suspicious, item(Kind::Thread)),
    ];
    assert_snapshot!(report(Verdict::Interfered, findings));
}

#[test]
fn what_differs_in_its_name_alone_is_shown_a_few_times_and_then_counted() {
    let file = |name: u32| {
        let mut item = item(Kind::File);
        (item.name, item.number) = (format!("/tmp/s-{name}.log"), Some(name));
        one(Verdict::Leaked, item)
    };
    let shown = |count| {
        let report = report(Verdict::Leaked, (1..=count).map(file).collect());
        let text = report.to_string();
        let lines = text.lines().filter(|line| line.contains("/tmp/s-")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(shown(4).len(), 4);
    let of_many = shown(60);
    assert_eq!(of_many.len(), 4);
    assert_snapshot!(of_many[3], @"leaked: 57 more files: `/tmp/s-4.log`, `/tmp/s-5.log`, `/tmp/s-6.log`, `/tmp/s-7.log`, `/tmp/s-8.log`, `/tmp/s-9.log`, `/tmp/s-10.log`, `/tmp/s-11.log` and 49 more");
}

#[test]
fn what_could_not_be_looked_at_is_said_with_its_cause() {
    let mut report = report(Verdict::CouldNotCheck, vec![]);
    let why = |resource, cause: &str, is_unsupported| NotLookedAt {
        resource,
        cause: cause.into(),
        is_unsupported,
        is_required: resource == Resource::Processes,
    };
    report.not_looked_at = vec![
        why(Resource::Descriptors, "Too many open files (os error 24)", false),
        why(Resource::Processes, "operation not supported on this platform", true),
        why(Resource::Threads, "operation not supported on this platform", true),
    ];
    report.memory = None;
    assert_snapshot!(report);
}

#[test]
fn a_clean_report_says_what_was_ignored_and_which_rule_is_not_needed() {
    let mut report = report(Verdict::SettledLate, vec![]);
    let rule = |rule: &str, matched| Ignored { rule: rule.into(), matched };
    report.ignored = vec![rule("path `/tmp/pool*`", 2), rule("thread `rayon-*`", 0)];
    report.settled = settled(4);
    assert_snapshot!(report);
}

#[test]
fn a_clean_check_is_three_lines_and_none_says_so() {
    let mut clean = report(Verdict::Clean, vec![]);
    clean.settled = settled(1);
    clean.attribution = Attribution::Shared;
    let off = LeakReport::of_nothing(None, Level::Off, Attribution::Shared);
    assert_snapshot!(format!("{clean}\n{off}"));
}

#[test]
fn at_level_paranoid_there_is_a_stack() {
    let mut session = item(Kind::Session);
    session.stack = Some("0: a_test\n     at tests/resize.rs:12\n1: main\n".into());
    let mut report = report(Verdict::Leaked, vec![one(Verdict::Leaked, session)]);
    report.memory = report.memory.map(|memory| Memory { private: Some(9 << 20), ..memory });
    assert_snapshot!(report);
}

#[test]
fn colours_mark_the_verdicts_and_nothing_else_changes() {
    let report = report(Verdict::Leaked, vec![one(Verdict::Leaked, item(Kind::File))]);
    let (plain, painted) = (report.render(Color::Never), report.render(Color::Always));
    assert!(!plain.contains('\x1b'));
    assert!(painted.contains("\x1b[1;31mleaked\x1b[0m: file"), "{painted:?}");
    assert_eq!(painted.replace("\x1b[1;31m", "").replace("\x1b[0m", ""), plain);
}

#[test]
fn json_has_a_version_and_comes_back_as_it_was() {
    let report = report(Verdict::Leaked, KINDS.map(|kind| one(Verdict::Leaked, item(kind))).to_vec());
    let json = report.to_json();
    assert_eq!(LeakReport::from_json(&json).unwrap(), report);
    assert!(json.starts_with("{\n  \"version\": 1,"), "{json}");
    let later = json.replacen("\"version\": 1", "\"version\": 2", 1);
    let error = LeakReport::from_json(&later).unwrap_err().to_string();
    assert_eq!(
        error,
        "this leak report has version 2, and this version of termleash reads 1: use the termleash that wrote it"
    );
    assert!(LeakReport::from_json("{}").unwrap_err().is_invalid_input());
}

/// The usual way to read a number is off by one in the last of these digits.
#[test]
fn a_number_comes_back_from_json_to_the_last_digit() {
    let resolution = Some(227.555_555_555_555_54);
    let series = Series { resolution, ..series(Gauge::Resident, Verdict::Clean, vec![5 << 20; 19], 0.0) };
    let json = serde_json::to_string(&series).unwrap();
    assert_eq!(serde_json::from_str::<Series>(&json).unwrap(), series);
}

#[test]
fn the_json_of_a_finding_is_what_it_was() {
    let mut report = report(Verdict::Leaked, vec![one(Verdict::Leaked, item(Kind::Session))]);
    report.ignored = vec![Ignored { rule: "path `/x`".into(), matched: 0 }];
    assert_snapshot!(report.to_json());
}

fn series(gauge: Gauge, verdict: Verdict, values: Vec<u64>, per_round: f64) -> Series {
    Series { gauge, values, verdict, per_round, confidence: None, resolution: None, rounds_needed: None }
}

#[test]
fn a_hunt_shows_each_series_as_a_line() {
    let clean = Series {
        resolution: Some(220.0),
        ..series(Gauge::Heap, Verdict::Clean, (0..19).map(|round| (5 << 20) + round % 3 * 4096).collect(), 0.0)
    };
    let inconclusive = Series {
        rounds_needed: Some(34),
        ..series(Gauge::Resident, Verdict::Inconclusive, (0..19).map(|round| (5 << 20) + round * 900).collect(), 900.0)
    };
    let report = HuntReport {
        name: Some("a session is created and closed".into()),
        verdict: Verdict::Leaked,
        level: Level::Fail,
        attribution: Attribution::Exact(Reason::Nextest),
        rounds: 18,
        quiet_windows: None,
        series: vec![
            series(Gauge::Descriptors, Verdict::Leaked, (7..26).collect(), 1.0),
            series(Gauge::Threads, Verdict::OneTimeInit, vec![3, 4, 4, 4], 0.33),
            clean,
            inconclusive,
        ],
        left: Some(report(Verdict::Leaked, vec![one(Verdict::Leaked, item(Kind::PtyMaster))])),
        containment: None,
        process: None,
        sessions_per_round: None,
        memory: None,
        top_sites: None,
        on_leak: None,
    };
    assert_snapshot!(report);
    assert_eq!(HuntReport::from_json(&report.to_json()).unwrap(), report);
}

/// As it is looked at from outside.
fn process() -> ProcessSummary {
    let identity = serde_json::from_str(
        r#"{"pid":4711,"started":99,"boot":"000000000000000000000000000000ff","pid_namespace":4026531836}"#,
    );
    ProcessSummary { identity: identity.unwrap(), session: 4711, command: "my-server --port 4021".into() }
}

#[test]
fn of_another_process_it_is_said_which_one_and_what_its_author_has_to_do() {
    let kinds = [Kind::PtyMaster, Kind::Zombie, Kind::Process, Kind::Thread, Kind::Ended];
    let mut report = report(Verdict::Leaked, kinds.map(|kind| one(Verdict::Leaked, item(kind))).to_vec());
    report.attribution = Attribution::Exact(Reason::Said);
    report.process = Some(process());
    let mut shared = report.clone();
    shared.attribution = Attribution::Shared;
    (shared.name, shared.verdict) = (None, Verdict::Suspicious);
    shared.findings = vec![one(Verdict::Suspicious, item(Kind::Socket))];
    assert_eq!(LeakReport::from_json(&report.to_json()).unwrap(), report);
    assert_snapshot!(format!("{report}\n{shared}"));
}

#[test]
fn a_hunt_on_a_server_says_what_is_left_of_each_session_and_how_sure_that_is() {
    let sure = |series: Series, confidence| Series { confidence: Some(confidence), ..series };
    let report = HuntReport {
        name: None,
        process: Some(process()),
        verdict: Verdict::Leaked,
        level: Level::Fail,
        attribution: Attribution::Exact(Reason::Said),
        rounds: 18,
        quiet_windows: Some(QuietWindows { each: Duration::from_millis(100), last: Some(Duration::from_secs(1)) }),
        sessions_per_round: Some(2),
        series: vec![
            sure(series(Gauge::PtyMasters, Verdict::Leaked, (7..26).collect(), 1.0), Confidence::Grew(1.0)),
            series(Gauge::Threads, Verdict::Clean, vec![4; 19], 0.0),
            sure(
                series(Gauge::Resident, Verdict::Leaked, (0..19).map(|at| (5 << 20) + (at << 16)).collect(), 65536.0),
                Confidence::ByChance(0.00031),
            ),
            sure(series(Gauge::Processor, Verdict::Leaked, vec![99_000; 19], 0.0), Confidence::More(98_700.0)),
            sure(
                series(Gauge::Forks, Verdict::Leaked, vec![0; 19], 0.0),
                Confidence::MoreInLong { more: 90.0, window: Duration::from_secs(1) },
            ),
        ],
        left: None,
        containment: None,
        memory: Some(MemorySource::Resident),
        top_sites: None,
        on_leak: Some("/tmp/heap-4711.heapsnapshot".into()),
    };
    assert_snapshot!(report);
    assert_eq!(HuntReport::from_json(&report.to_json()).unwrap(), report);
}

#[test]
fn a_hunt_that_does_not_tell_says_how_many_rounds_would() {
    let inconclusive = Series {
        rounds_needed: Some(34),
        ..series(Gauge::Heap, Verdict::Inconclusive, (0..19).map(|round| (5 << 20) + round * 900).collect(), 900.0)
    };
    let too_few = series(Gauge::Resident, Verdict::Inconclusive, vec![5 << 20; 4], 0.0);
    let report = HuntReport {
        name: None,
        verdict: Verdict::Inconclusive,
        level: Level::Fail,
        attribution: Attribution::Shared,
        rounds: 18,
        quiet_windows: None,
        series: vec![inconclusive, too_few],
        left: None,
        containment: None,
        process: None,
        sessions_per_round: None,
        memory: None,
        top_sites: None,
        on_leak: None,
    };
    assert_snapshot!(report);
}
