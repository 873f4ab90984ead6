//! Core files, recorded on x86-64 Linux 6.18 and cut behind their notes, and crash reports, written after Apple's description.

use proptest::prelude::*;
use termleash::process::ExitStatus;
use termleash::process::death::core_notes::{CoreNotes, Origin};
use termleash::process::death::ips::{CrashReport, Termination, newest_of};
use termleash::process::death::{Facts, classify};

/// A program of two threads that calls `abort`, with two arguments.
const ABORT: &[u8] = include_bytes!("fixtures/abort.core");
/// The same, writing to address 16.
const FAULT: &[u8] = include_bytes!("fixtures/segv.core");
const CRASH: &[u8] = include_bytes!("fixtures/crash.ips");
const BAD_ACCESS: &[u8] = include_bytes!("fixtures/fault.ips");

#[test]
fn the_core_of_an_abort_names_process_threads_and_who_sent_the_signal() {
    let notes = CoreNotes::parse(ABORT).expect("it is a core");
    let pid = notes.pid.expect("it has one");
    assert_eq!((notes.name.as_deref(), notes.command.as_deref()), (Some("example"), Some("./example one two words")));
    assert_eq!(notes.signal, Some(6));
    assert_eq!(notes.origin, Some(Origin::Process { code: -6, pid, user: 0 }));
    assert!(notes.threads.len() == 2 && notes.threads[0] == pid, "{notes:?}");
    let [first, .., last] = &notes.files[..] else { panic!("{notes:?}") };
    assert_eq!((first.path.as_str(), first.offset), ("/tmp/example/example", 0));
    assert!(first.start < first.end && first.end <= last.start, "{notes:?}");
    assert!(notes.files.iter().any(|file| file.path.ends_with("/libc.so.6") && file.offset > 0), "{notes:?}");
    assert_eq!(notes.to_string(), format!("`./example one two words` (pid {pid}) ended by signal 6, sent by itself"));
}

#[test]
fn the_core_of_a_fault_has_its_address() {
    let notes = CoreNotes::parse(FAULT).expect("it is a core");
    assert_eq!((notes.signal, notes.origin), (Some(11), Some(Origin::Fault { code: 1, address: 0x10 })));
    assert!(notes.to_string().ends_with(" ended by signal 11, at address 0x10"), "{notes}");
}

#[test]
fn what_is_no_core_is_refused_with_the_reason() {
    let why = |bytes: &[u8]| CoreNotes::parse(bytes).expect_err("it is none").to_string();
    assert!(why(b"").contains("too short"));
    assert!(why(&[b'x'; 64]).contains("does not begin as an ELF file"));
    assert!(why(&ABORT[..200]).contains("cut before the end of its notes"));
    assert!(why(&ABORT[..ABORT.len() - 1]).contains("cut before the end of its notes"));
    let with = |at: usize, value: u8| {
        let mut bytes = ABORT.to_vec();
        bytes[at] = value;
        why(&bytes)
    };
    assert!(with(4, 1).contains("a 32-bit one"));
    // A program.
    assert!(with(16, 2).contains("of another kind"));
}

/// As of a processor of the other byte order, written here: the header, one segment, and one note.
#[test]
fn a_core_of_the_other_byte_order_is_read_too() {
    let mut core = vec![0; 64 + 56];
    let mut put = |at: usize, bytes: &[u8]| core[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x02");
    put(16, &4u16.to_be_bytes());
    put(32, &64u64.to_be_bytes());
    put(54, &56u16.to_be_bytes());
    put(56, &1u16.to_be_bytes());
    put(64, &4u32.to_be_bytes());
    put(64 + 8, &120u64.to_be_bytes());
    put(64 + 32, &(12 + 8 + 128u64).to_be_bytes());
    core.extend([5u32, 128, 0x5349_4749].iter().flat_map(|number| number.to_be_bytes()));
    core.extend(b"CORE\0\0\0\0");
    let mut info = [0; 128];
    info[..4].copy_from_slice(&15u32.to_be_bytes());
    info[16..20].copy_from_slice(&7u32.to_be_bytes());
    info[20..24].copy_from_slice(&1000u32.to_be_bytes());
    core.extend(info);
    let notes = CoreNotes::parse(&core).expect("it is a core");
    assert_eq!((notes.signal, notes.origin), (Some(15), Some(Origin::Process { code: 0, pid: 7, user: 1000 })));
    assert_eq!(notes.to_string(), "`?` ended by signal 15, sent by pid 7 of user 1000");
}

#[test]
fn a_crash_report_names_exception_thread_and_frames() {
    let report = CrashReport::parse(CRASH).expect("it is one");
    assert_eq!((report.pid, report.bug_type.as_deref()), (Some(4711), Some("309")));
    assert_eq!((report.process.as_deref(), report.parent.as_deref()), (Some("server"), Some("zsh")));
    assert_eq!((report.exception.as_deref(), report.signal.as_deref()), (Some("EXC_CRASH"), Some("SIGABRT")));
    let Some(Termination { namespace, code, indicator, by_pid, .. }) = &report.termination else {
        panic!("{report:?}")
    };
    assert_eq!((namespace.as_deref(), *code, *by_pid), (Some("SIGNAL"), Some(6), Some(4711)));
    assert_eq!(indicator.as_deref(), Some("Abort trap: 6"));
    assert_eq!(report.said, ["abort() called"]);
    let thread = report.thread.as_ref().expect("it has one");
    assert_eq!((thread.index, thread.name.as_deref()), (1, Some("worker-7")));
    let frames = ["__pthread_kill (libsystem_kernel.dylib)", "abort (libsystem_c.dylib)", "0x1234 (server)", "0x1 (?)"];
    assert_eq!(thread.frames, frames);
    assert_eq!(
        report.to_string(),
        "server (pid 4711): EXC_CRASH (SIGABRT), ended by server, abort() called; in thread worker-7 \
         < __pthread_kill (libsystem_kernel.dylib) < abort (libsystem_c.dylib) < 0x1234 (server)"
    );
}

#[test]
fn a_crash_report_without_a_named_thread_has_the_one_that_was_triggered() {
    let report = CrashReport::parse(BAD_ACCESS).expect("it is one");
    assert_eq!(report.subtype.as_deref(), Some("KERN_INVALID_ADDRESS at 0x0000000000000010"));
    let thread = report.thread.as_ref().expect("it has one");
    assert_eq!((thread.name.as_deref(), thread.frames.len()), (Some("com.apple.main-thread"), 0));
}

#[test]
fn the_newest_report_of_a_process_is_found_by_the_names_in_its_directory_and_pointed_at() {
    let names = [
        "server-2026-11-29-101500.ips",
        "server-2026-11-29-101501.ips",
        "server-2026-11-29-101501.000.ips",
        "server-2025-12-31-235959.ips",
        "server-2026-11-30.ips",
        "server-2026-11-30-0900é0.ips",
        "server-tool-2027-01-01-000000.ips",
        "server-2027-01-01-000000.crash",
        "Server-2027-01-01-000000.ips",
    ];
    assert_eq!(newest_of(names, "server"), Some("server-2026-11-29-101501.000.ips"));
    assert_eq!(newest_of(names, "server-tool"), Some("server-tool-2027-01-01-000000.ips"));
    assert_eq!((newest_of(names, "serve"), newest_of([], "server")), (None, None));
    let facts = Facts::new(ExitStatus::Signaled { signal: 11, core_dumped: false });
    let told = classify(&facts.crash_report("/Library/server.ips")).to_string();
    assert!(told.contains("a crash report about it is `/Library/server.ips`"), "{told}");
}

#[test]
fn what_is_no_crash_report_is_refused_with_the_reason() {
    let why = |text: &str| CrashReport::parse(text.as_bytes()).expect_err("it is none").to_string();
    assert!(why("").contains("its first document is missing"));
    assert!(why("{}\n").contains("its second document is missing"));
    assert!(why("{} [1]").contains("its second document is no object"));
    assert!(why("Process: server [4711]").contains("its first document cannot be read"));
    let empty = CrashReport::parse(b"{}{}").expect("nothing in it need be there");
    assert_eq!(empty.to_string(), "a process: ? (?)");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (CoreNotes::parse(&bytes), CrashReport::parse(&bytes));
    }

    /// Numbers that lie, anywhere in a core.
    #[test]
    fn no_damage_makes_the_parser_of_cores_panic(
        changes in prop::collection::vec((0..ABORT.len(), any::<u8>()), 1..20),
        extreme in prop::collection::vec((0..ABORT.len() - 8, prop::sample::select(vec![0u8, 0x7f, 0x80, 0xff])), 0..4),
        length in 0..=ABORT.len(),
    ) {
        let mut core = ABORT.to_vec();
        for (at, byte) in changes {
            // The beginning of the header is left, so that more than that is read.
            core[at.max(18)] = byte;
        }
        for (at, byte) in extreme {
            core[at.max(18)..at.max(18) + 8].fill(byte);
        }
        if let Ok(notes) = CoreNotes::parse(&core) {
            let _ = notes.to_string();
        }
        let _ = CoreNotes::parse(&core[..length]);
    }

    #[test]
    fn no_damage_makes_the_parser_of_reports_panic(
        at in 0..CRASH.len(), byte in prop::sample::select(b"{}[]\",:0-e \xff".to_vec()), length in 0..=CRASH.len(),
    ) {
        let mut report = CRASH.to_vec();
        report[at] = byte;
        if let Ok(report) = CrashReport::parse(&report) {
            let _ = report.to_string();
        }
        let _ = CrashReport::parse(&report[..length]);
    }
}
