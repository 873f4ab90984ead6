//! What cannot work: each is an error that names the thing, the cause and what to do, and leaves nothing behind.

use crate::checked::checked;
use crate::support::{helper, masked, over};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use termleash::process::ExitStatus;
use termleash::session::Session;
use termleash::{Error, SessionSpec, SessionTestHelper, session::SessionId, tracker::SessionGuard};

#[track_caller]
fn nothing_is_left(helper: &SessionTestHelper) {
    assert_eq!(helper.tracked_count(), 0);
    assert!(helper.survivors().unwrap().is_empty(), "{:?}", helper.survivors());
}

/// The error of a creation that cannot work.
async fn refused(spec: impl Into<SessionSpec>) -> Error {
    let helper = helper();
    let error = helper.create_tracked_session(spec).await.expect_err("it cannot be started");
    nothing_is_left(&helper);
    // A kill has nothing to do, and says so.
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert!(report.outcomes().is_empty(), "{report}");
    error
}

/// The text of an error that [`refused`] gave for what the caller can mend, without the path of the test's folder.
async fn refused_input(folder: &TempDir, spec: impl Into<SessionSpec>) -> String {
    let error = refused(spec).await;
    assert!(error.is_invalid_input(), "{error}");
    error.to_string().replace(&*folder.path().to_string_lossy(), "FOLDER")
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Written by a process of its own: a descriptor that is open for writing could be inherited by what a parallel test
/// starts at this moment, and then the file is "busy".
fn executable(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    let source = file(folder, &format!("{name}.source"), content);
    assert!(Command::new("install").args(["-m", "755"]).args([&source, &path]).status().unwrap().success());
    path
}

/// A program of this machine, to be damaged.
fn a_program() -> Vec<u8> {
    std::fs::read("/bin/true").unwrap()
}

#[test]
fn a_program_that_is_not_there_is_named_with_the_path_that_was_searched() {
    checked(async || {
        let folder = folder();
        let spec = || SessionSpec::new("no-such-program").env("PATH", "/bin:/nowhere");
        insta::assert_snapshot!(refused_input(&folder, spec().arg("-x")).await, @"cannot start `no-such-program -x`: there is no program `no-such-program` in the session's PATH (/bin:/nowhere); install it, or give its path");
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new(folder.path().join("none"))).await, @"cannot start `FOLDER/none`: FOLDER/none cannot be found (No such file or directory (os error 2)); install it, or give its path");
        insta::assert_snapshot!(refused_input(&folder, spec().env("PATH", "")).await, @"cannot start `no-such-program`: there is no program `no-such-program` in the session's PATH (); install it, or give its path");
    });
}

#[test]
fn a_command_line_in_the_place_of_a_program_is_told_of_the_shell() {
    checked(async || {
        let spec = SessionSpec::new("ls -l | wc").env("PATH", "/bin");
        insta::assert_snapshot!(refused_input(&folder(), spec).await, @r#"cannot start `ls -l | wc`: there is no program `ls -l | wc` in the session's PATH (/bin); for a command line write `SessionSpec::shell("…")`"#);
        insta::assert_snapshot!(refused_input(&folder(), "/bin/ls -l").await, @r#"cannot start `/bin/ls -l`: /bin/ls -l cannot be found (No such file or directory (os error 2)); for a command line write `SessionSpec::shell("…")`"#);
    });
}

#[test]
fn an_empty_program_is_refused() {
    checked(async || {
        insta::assert_snapshot!(refused_input(&folder(), "").await, @"the session's program is empty: name one, such as `bash`");
    });
}

#[test]
fn a_file_without_the_executable_bit_is_named() {
    checked(async || {
        let folder = folder();
        let path = file(&folder, "tool", b"#!/bin/sh\n");
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new(path)).await, @"cannot start `FOLDER/tool`: FOLDER/tool is not executable; run `chmod +x` on it, or name its interpreter as the program");
        let by_name = SessionSpec::new("tool").env("PATH", folder.path());
        insta::assert_snapshot!(refused_input(&folder, by_name).await, @"cannot start `tool`: FOLDER/tool is not executable; run `chmod +x` on it, or name its interpreter as the program");
    });
}

#[test]
fn a_directory_is_no_program() {
    checked(async || {
        let folder = folder();
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new(folder.path())).await, @"cannot start `FOLDER`: FOLDER is a directory");
    });
}

#[test]
fn a_corrupt_program_is_an_error_and_not_a_session() {
    checked(async || {
        let folder = folder();
        let program = a_program();
        let noise: Vec<u8> = b"\x7fELF".iter().copied().chain((0..2_000u32).map(|n| (n * 167 % 251) as u8)).collect();
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new(executable(&folder, "noise", &noise))).await, @"cannot start `FOLDER/noise`: FOLDER/noise is neither a program of this machine nor a script (Exec format error (os error 8)); if it is a script, begin it with `#!/bin/sh`; else it is damaged: build or download it again");
        // Cut in its header, in the table behind that, in the name of its loader, and before its code.
        for length in [10, 100, 0x319] {
            let path = executable(&folder, &format!("cut-{length}"), &program[..length]);
            let text = refused_input(&folder, SessionSpec::new(path)).await;
            assert!(text.contains("neither a program of this machine nor a script"), "{length}: {text}");
        }
    });
}

#[test]
fn a_program_for_another_machine_or_another_system_is_told_apart() {
    checked(async || {
        let folder = folder();
        let mut other_machine = a_program();
        // `e_machine` (elf(5)): nobody has this one.
        other_machine[18..20].copy_from_slice(&0x1234u16.to_le_bytes());
        let path = executable(&folder, "machine", &other_machine);
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new(path)).await, @"cannot start `FOLDER/machine`: FOLDER/machine is neither a program of this machine nor a script (Exec format error (os error 8)); if it is a script, begin it with `#!/bin/sh`; else it is damaged: build or download it again");
        let mut other_system = a_program();
        let loader = other_system.windows(4).position(|bytes| bytes == b"/ld-").expect("it is linked dynamically");
        other_system[loader..loader + 4].copy_from_slice(b"/no-");
        let path = executable(&folder, "system", &other_system);
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new(path)).await, @"cannot start `FOLDER/system`: FOLDER/system is there, but its loader is not: it was built for another system (see `file` of it)");
    });
}

#[test]
fn a_text_without_an_interpreter_is_told_what_to_begin_with() {
    checked(async || {
        let folder = folder();
        for (name, content) in [("plain", &b"echo hi\n"[..]), ("empty", b""), ("bare", b"#!\necho hi\n")] {
            let path = executable(&folder, name, content);
            let text = refused_input(&folder, SessionSpec::new(path)).await.replace(name, "NAME");
            insta::allow_duplicates! { insta::assert_snapshot!(text, @"cannot start `FOLDER/NAME`: FOLDER/NAME is neither a program of this machine nor a script (Exec format error (os error 8)); if it is a script, begin it with `#!/bin/sh`; else it is damaged: build or download it again"); }
        }
    });
}

#[test]
fn a_script_whose_interpreter_is_missing_names_it() {
    checked(async || {
        let folder = folder();
        let path = executable(&folder, "script", b"#!/no/such/python3 -u\nprint()\n");
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new(path)).await, @"cannot start `FOLDER/script`: FOLDER/script is a script for /no/such/python3, which is missing; install it, or mend the `#!` line");
    });
}

/// What an editor of another system makes of a script: the interpreter is there, but not with that name.
#[test]
fn a_script_with_the_line_ends_of_another_system_is_told_so() {
    checked(async || {
        let folder = folder();
        let path = executable(&folder, "script", b"#!/bin/sh\r\necho hi\r\n");
        let text = refused_input(&folder, SessionSpec::new(path)).await;
        assert!(!text.contains("/bin/sh, which is missing"), "it is not: {text}");
        assert!(text.contains("carriage return"), "{text}");
    });
}

#[test]
fn a_script_whose_interpreter_cannot_be_executed_names_it() {
    checked(async || {
        let folder = folder();
        let interpreter = file(&folder, "interpreter", b"");
        let path = executable(&folder, "script", format!("#!{}\n", interpreter.display()).as_bytes());
        let text = refused(SessionSpec::new(path)).await.to_string();
        assert!(text.contains(&*interpreter.to_string_lossy()), "{text}");
    });
}

/// A loop of interpreters, and a file that somebody is writing: rare, so the system's own words do, with the path.
#[test]
fn other_causes_are_given_in_the_systems_words() {
    checked(async || {
        let folder = folder();
        let path = executable(&folder, "busy", b"#!/bin/sh\n");
        let writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let error = refused(SessionSpec::new(&path)).await;
        assert_eq!(error.raw_os_error(), Some(26));
        insta::assert_snapshot!(error.to_string().replace(&*folder.path().to_string_lossy(), "FOLDER"), @"failed to start `FOLDER/busy` (FOLDER/busy): Text file busy (os error 26)");
        drop(writer);
    });
}

#[test]
fn a_working_directory_that_is_missing_or_none_is_named() {
    checked(async || {
        let folder = folder();
        let spec = |directory: PathBuf| SessionSpec::new("sh").current_dir(directory);
        insta::assert_snapshot!(refused_input(&folder, spec(folder.path().join("gone"))).await, @"cannot start `sh`: its working directory FOLDER/gone is missing (No such file or directory (os error 2))");
        let plain = file(&folder, "plain", b"");
        insta::assert_snapshot!(refused_input(&folder, spec(plain)).await, @"cannot start `sh`: its working directory FOLDER/plain is not a directory");
    });
}

#[test]
fn a_nul_anywhere_is_refused_before_anything_starts() {
    checked(async || {
        let folder = folder();
        insta::assert_snapshot!(refused_input(&folder, "s\0h").await, @r#"the session's program "s\0h" contains a NUL, where the operating system ends a text: remove it"#);
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new("sh").args(["-c", "echo \0"])).await, @r#"the session's argument "echo \0" contains a NUL, where the operating system ends a text: remove it"#);
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new("sh").env("NAME", "a\0b")).await, @r#"the session's variable's value "a\0b" contains a NUL, where the operating system ends a text: remove it"#);
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new("sh").env("N\0", "a")).await, @r#"the session's variable "N\0" contains a NUL, where the operating system ends a text: remove it"#);
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new("sh").current_dir("/tmp\0")).await, @r#"the session's working directory "/tmp\0" contains a NUL, where the operating system ends a text: remove it"#);
    });
}

#[test]
fn a_name_that_no_variable_can_have_is_refused() {
    checked(async || {
        let folder = folder();
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new("sh").env("A=B", "c")).await, @r#""A=B" cannot be a variable's name: it is empty or contains `=`"#);
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new("sh").env("", "c")).await, @r#""" cannot be a variable's name: it is empty or contains `=`"#);
    });
}

#[test]
fn arguments_longer_than_the_system_takes_are_refused() {
    checked(async || {
        let error = refused(SessionSpec::new("true").arg("x".repeat(200_000))).await;
        assert!(error.is_invalid_input() && error.to_string().contains("longer than the system takes"), "{error}");
        // The text names the program and does not repeat the argument.
        assert!(error.to_string().len() < 2_000, "a text of {} bytes", error.to_string().len());
    });
}

#[test]
fn a_window_of_size_zero_is_refused_at_the_start_and_later() {
    checked(async || {
        let folder = folder();
        insta::assert_snapshot!(refused_input(&folder, SessionSpec::new("sh").size(0, 80)).await, @r#"a window of 0 rows and 80 columns is none: programs read 0 as "unknown" and divide by it; give at least 1 of each"#);
        let helper = helper();
        let session = helper.create_tracked_session("sh").await.unwrap();
        let error = session.resize(24, 0).await.unwrap_err();
        assert!(error.is_invalid_input());
        insta::assert_snapshot!(error, @r#"a window of 24 rows and 0 columns is none: programs read 0 as "unknown" and divide by it; give at least 1 of each"#);
        // The session is none the worse for it.
        assert_eq!(session.run("stty size").await.unwrap().stdout(), "24 80");
        session.close().await.unwrap();
    });
}

#[test]
fn an_id_that_nobody_knows_or_nobody_should_use_is_not_tracked() {
    checked(async || {
        let helper = helper();
        let unknown = helper.track_session("pty-999999").await.unwrap_err();
        assert!(unknown.is_unknown_session());
        insta::assert_snapshot!(unknown, @"the backend has no session `pty-999999`, so it is not tracked: give the id exactly as the server does");
        for hostile in
            ["", ".", "..", "-rf", "../pty-1", "a b", "%2e", "a\0", "a\u{1b}[2J", "a\u{202e}b", &"x".repeat(300)]
        {
            let error = helper.track_session(hostile).await.unwrap_err();
            assert!(error.is_invalid_input() && !error.to_string().contains(['\0', '\u{1b}', '\u{202e}']), "{error:?}");
            assert!(SessionId::new(hostile).is_err());
        }
        insta::assert_snapshot!(helper.track_session("../pty-1").await.unwrap_err(), @r#"the session id "../pty-1" contains a path separator: it would not be safe in a URL or a command line; give the server's own id of the session, not its name or title"#);
        let untracked = helper.kill_session(&SessionId::new("pty-999999").unwrap()).await.unwrap_err();
        assert!(untracked.is_not_tracked());
        nothing_is_left(&helper);
    });
}

async fn ended(helper: &SessionTestHelper) -> SessionGuard {
    let session = helper.create_tracked_session(SessionSpec::shell("echo bye; exit 3")).await.unwrap();
    assert_eq!(over(&session).await, ExitStatus::Exited(3));
    session
}

/// The text without the session's number.
fn shown(error: &Error) -> String {
    masked(&error.to_string(), &["pty-"])
}

#[test]
fn waiting_for_a_text_of_a_session_that_has_ended_says_how_it_ended() {
    checked(async || {
        let helper = helper();
        let session = ended(&helper).await;
        // What it did print is still found.
        session.wait_for_text("bye").await.unwrap();
        let error = session.wait_for_text("hello").await.unwrap_err();
        assert!(error.is_session_ended());
        insta::assert_snapshot!(shown(&error), @r#"
    session `pty-N` ended (exit status 3) before "hello" came; the last lines of its output:
      | bye
    "#);
        session.close().await.unwrap();
    });
}

#[test]
fn waiting_for_a_text_of_a_session_that_has_crashed_says_of_what() {
    checked(async || {
        let helper = helper();
        let script = "echo 'FATAL ERROR: JavaScript heap out of memory'; kill -ABRT $$";
        let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
        let error = session.wait_for_text("hello").await.unwrap_err();
        insta::assert_snapshot!(shown(&error), @r#"
    session `pty-N` ended (signal 6 (SIGABRT); cause of death: out of memory: V8's heap was at its limit, which `node --max-old-space-size=MB` sets; it printed `FATAL ERROR: JavaScript heap out of memory`; its own words are all that says why, and its status fits them) before "hello" came; the last lines of its output:
      | FATAL ERROR: JavaScript heap out of memory
    "#);
        session.close().await.unwrap();
    });
}

#[test]
fn typing_into_a_session_that_has_ended_is_an_error() {
    checked(async || {
        let helper = helper();
        let session = ended(&helper).await;
        for error in [session.run("echo hi").await.unwrap_err(), session.write("x").await.unwrap_err()] {
            assert!(error.is_session_ended(), "{error}");
            let text = error.to_string();
            assert!(text.contains(session.id().as_str()) && text.contains("ended"), "{text}");
        }
        let resized = session.resize(30, 90).await.unwrap_err();
        assert!(resized.is_session_ended(), "{resized}");
        assert!(session.window_size().is_err());
        session.close().await.unwrap();
        nothing_is_left(&helper);
    });
}

/// A handle may outlive the session's end; what it has printed stays readable.
#[test]
fn a_session_that_was_closed_answers_with_errors_and_never_waits() {
    checked(async || {
        let helper = helper();
        let session: Session = helper.create_tracked_session("sh").await.unwrap().keep();
        session.run("echo last words").await.unwrap();
        helper.kill_tracked_sessions().await.unwrap();
        assert!(session.write_line("x").await.is_err() && session.run("x").await.is_err());
        assert!(session.wait_for_text("never printed").await.unwrap_err().is_session_ended());
        assert!(session.output().unwrap().text().contains("last words"));
        assert!(session.wait_for_exit().await.is_ok());
    });
}

#[test]
fn output_that_is_no_utf8_is_kept_and_shown() {
    checked(async || {
        let helper = helper();
        let script = r"printf 'a\377\376b\303'; printf '\251\n'; exec sleep 1000";
        let session = helper.create_tracked_session(SessionSpec::shell(script)).await.unwrap();
        // The two halves of a character that came apart are one again.
        session.wait_for_text("a\u{fffd}\u{fffd}bé\n").await.unwrap();
        let output = session.output().unwrap();
        assert_eq!(output.bytes(), b"a\xff\xfeb\xc3\xa9\r\n");
        assert_eq!(output.text(), "a\u{fffd}\u{fffd}bé\n");
        session.close().await.unwrap();
    });
}

async fn prints(spec: SessionSpec) -> String {
    let helper = helper();
    let session = helper.create_tracked_session(spec).await.unwrap();
    assert_eq!(over(&session).await, ExitStatus::Exited(0));
    let text = session.output().unwrap().text();
    session.close().await.unwrap();
    nothing_is_left(&helper);
    text
}

#[test]
fn a_program_is_looked_for_in_the_path_of_the_session_and_not_of_the_test() {
    checked(async || {
        let folder = folder();
        executable(&folder, "only-here", b"#!/bin/sh\necho \"found $0\"\n");
        let here = SessionSpec::new("only-here");
        let text = prints(here.clone().env("PATH", folder.path())).await;
        assert_eq!(text, format!("found {}\n", folder.path().join("only-here").display()));
        // Without a PATH it is that of execvp(3).
        assert_eq!(prints(SessionSpec::new("echo").arg("hi").env_remove("PATH")).await, "hi\n");
        assert_eq!(prints(SessionSpec::new("echo").arg("hi").env_clear()).await, "hi\n");
        assert!(refused(here).await.is_invalid_input());
    });
}

#[test]
fn a_later_entry_of_the_path_is_taken_where_an_earlier_one_cannot_be_executed() {
    checked(async || {
        let (first, second) = (folder(), folder());
        file(&first, "tool", b"not executable");
        std::fs::create_dir(first.path().join("tool-2")).unwrap();
        executable(&second, "tool", b"#!/bin/sh\necho second\n");
        executable(&second, "tool-2", b"#!/bin/sh\necho second\n");
        let path = std::env::join_paths([first.path(), second.path()]).unwrap();
        for name in ["tool", "tool-2"] {
            assert_eq!(prints(SessionSpec::new(name).env("PATH", &path)).await, "second\n");
        }
    });
}

#[test]
fn a_relative_program_is_looked_for_from_the_sessions_directory() {
    checked(async || {
        let folder = folder();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        executable(&folder, "bin/tool", b"#!/bin/sh\npwd\n");
        let expected = format!("{}\n", folder.path().canonicalize().unwrap().display());
        let by_path = SessionSpec::new("bin/tool").current_dir(folder.path());
        assert_eq!(prints(by_path).await, expected);
        let by_name = SessionSpec::new("tool").current_dir(folder.path()).env("PATH", "bin");
        assert_eq!(prints(by_name).await, expected);
        let missing = SessionSpec::new("bin/none").current_dir(folder.path());
        insta::assert_snapshot!(refused_input(&folder, missing).await, @"cannot start `bin/none`: FOLDER/bin/none cannot be found (No such file or directory (os error 2)); install it, or give its path");
    });
}

/// A directory that is relative itself: it counts from the test's, and the program from there.
#[test]
fn a_relative_program_is_found_from_a_relative_directory_too() {
    checked(async || {
        let folder = folder();
        std::fs::create_dir_all(folder.path().join("deep/deeper/bin")).unwrap();
        executable(&folder, "deep/deeper/bin/tool", b"#!/bin/sh\npwd\n");
        let directory = folder.path().canonicalize().unwrap().join("deep/deeper");
        let expected = format!("{}\n", directory.display());
        let to_the_top = std::env::current_dir().unwrap().canonicalize().unwrap().ancestors().skip(1).count();
        let relative: PathBuf = std::iter::repeat_n(Path::new(".."), to_the_top).collect();
        let relative = relative.join(directory.strip_prefix("/").unwrap());
        assert_eq!(prints(SessionSpec::new("bin/tool").current_dir(&relative)).await, expected);
        assert_eq!(prints(SessionSpec::new("tool").current_dir(&relative).env("PATH", "bin")).await, expected);
    });
}
