//! `TERMLEASH_TIMELINES`: every test leaves its timeline as a file.

use crate::children::{Ran, alone};
use std::fs;
use std::path::Path;
use termleash::event::Timeline;

const HERE: (&str, &str) = ("TERMLEASH_ISOLATE", "never");
const WHERE: &str = "TERMLEASH_TIMELINES";

/// Names and contents, in order.
fn files(directory: &Path) -> Vec<(String, Timeline)> {
    let entries = fs::read_dir(directory).expect("it was made").map(|entry| entry.expect("an entry").path());
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("a text");
        (path.file_name().unwrap().to_string_lossy().into_owned(), Timeline::from_json(&text).expect("a timeline"))
    };
    let mut files: Vec<_> = entries.map(read).collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// Runs this test again with a directory for its files, and answers with them.
fn kept(variables: &[(&str, &str)]) -> Option<(Ran, Vec<(String, Timeline)>)> {
    let top = tempfile::tempdir().expect("a directory");
    let directory = top.path().join("to be made");
    let variables = [variables, &[(WHERE, directory.to_str().expect("a path of text"))]].concat();
    let ran = alone(&variables)?;
    Some((ran, files(&directory)))
}

/// `<name>-<pid>.json`.
#[track_caller]
fn is_named(file: &str, name: &str) {
    let pid = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".json"));
    assert!(pid.is_some_and(|pid| pid.parse::<u32>().is_ok()), "{file}");
}

#[test]
fn a_test_that_passes_leaves_one() {
    let Some((ran, files)) = kept(&[]) else {
        return termleash::test(async |t| {
            t.session("sh").await?.keep();
            Ok(())
        });
    };
    ran.passed();
    let [(name, timeline)] = &files[..] else { panic!("{files:?}") };
    is_named(name, "files__a_test_that_passes_leaves_one");
    assert_eq!(timeline.test.as_deref(), Some("files::a_test_that_passes_leaves_one"));
    assert!(timeline.durations.is_some() && timeline.sessions[0].ended.is_some() && !timeline.is_of_dead);
}

#[test]
fn a_test_in_the_test_process_leaves_one_also_when_it_fails() {
    let Some((ran, files)) = kept(&[HERE]) else {
        return termleash::test(async |t| {
            t.session("sh").await?.keep();
            Err("its own failure".into())
        });
    };
    ran.failed().says(&["its own failure"]);
    let [(name, timeline)] = &files[..] else { panic!("{files:?}") };
    is_named(name, "files__a_test_in_the_test_process_leaves_one_also_when_it_fails");
    assert!(timeline.sessions[0].ended.is_some());
}

#[test]
fn a_body_that_dies_leaves_one_by_its_runner() {
    let Some((ran, files)) = kept(&[]) else {
        return termleash::test(async |t| {
            t.session("sh").await?.keep();
            println!("pid {}.", std::process::id());
            std::process::abort()
        });
    };
    ran.failed().says(&["crashed: "]);
    let [(name, timeline)] = &files[..] else { panic!("{files:?}") };
    let pid = ran.text.split_once("pid ").and_then(|(_, rest)| rest.split_once('.')).expect("it said").0;
    assert_eq!(*name, format!("files__a_body_that_dies_leaves_one_by_its_runner-{pid}.json"));
    assert!(timeline.is_of_dead && timeline.sessions.len() == 1 && timeline.sessions[0].ended.is_none());
}

#[test]
fn a_process_that_dies_behind_its_test_leaves_that_of_the_test_alone() {
    let Some((ran, files)) = kept(&[]) else {
        termleash::test(async |_| Ok(()));
        if std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("TERMLEASH_S_")) {
            std::process::abort();
        }
        return;
    };
    ran.failed().says(&["passed, and its process was ended by signal 6"]);
    assert!(files.len() == 1 && !files[0].1.is_of_dead, "{files:?}");
}

#[test]
fn a_body_that_blocks_leaves_one_wherever_it_runs() {
    for place in [&[("TERMLEASH_TIMEOUT", "4s")][..], &[("TERMLEASH_TIMEOUT", "4s"), HERE]] {
        let Some((ran, files)) = kept(place) else {
            return termleash::test(async |t| {
                t.session("sh").await?.keep();
                loop {
                    std::thread::park();
                }
            });
        };
        assert!(!ran.status.success(), "{}", ran.text);
        let [(_, timeline)] = &files[..] else { panic!("{files:?}") };
        assert_eq!(timeline.sessions.len(), 1);
    }
}

#[test]
fn odd_names_and_several_calls_get_a_file_each() {
    for place in [&[][..], &[HERE]] {
        let Some((ran, files)) = kept(place) else {
            for name in ["../a\u{202e}\n*", "../a:::*", &"long".repeat(200)] {
                termleash::options().name(name).run(async |_| Ok(()));
            }
            return;
        };
        ran.passed();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let tests: Vec<&str> = files.iter().filter_map(|(_, timeline)| timeline.test.as_deref()).collect();
        assert_eq!(files.len(), 3, "{names:?}");
        assert!(names[0].starts_with("_a___") && names[1].starts_with("_a___"), "{names:?}");
        assert!(tests.contains(&"../a\u{202e}\n*") && tests.contains(&"../a:::*"), "{tests:?}");
        assert!(names[2].len() < 200 && tests[2].len() == 800, "{names:?}");
    }
}

#[test]
fn what_cannot_be_written_is_a_warning_and_nothing_else() {
    let top = tempfile::tempdir().expect("a directory");
    let file = top.path().join("a file");
    fs::write(&file, "").expect("written");
    let Some(ran) = alone(&[(WHERE, file.to_str().expect("a path of text"))]) else {
        return termleash::test(async |_| Ok(()));
    };
    ran.passed().says(&["termleash: failed to write the timeline of the test into ", "a file", "TERMLEASH_TIMELINES"]);
}

#[test]
fn a_directory_by_half_a_path_is_refused() {
    let Some(ran) = alone(&[(WHERE, "timelines")]) else {
        return termleash::test(async |_| Ok(()));
    };
    ran.failed().says(&["TERMLEASH_TIMELINES is `timelines`: not an absolute path"]);
}
