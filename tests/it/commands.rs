//! Commands run in a shell that is there already: output without the echo, status, in every shell of this machine.

use crate::checked::checked;
use crate::support::{FOREGROUND, helper, masked};
use std::time::Duration;
use termleash::process::ExitStatus;
use termleash::session::Key;
use termleash::{PtyBackend, SessionSpec, SessionTestHelper, tracker::SessionGuard};

/// Of every kind that this machine has.
fn shells() -> Vec<SessionSpec> {
    let candidates = [
        SessionSpec::new("sh"),
        SessionSpec::new("dash"),
        SessionSpec::new("bash"),
        SessionSpec::new("bash").args(["--norc", "--noprofile"]),
        SessionSpec::new("zsh").arg("-f"),
        SessionSpec::new("zsh"),
        SessionSpec::new("ksh"),
    ];
    let is_here = |spec: &SessionSpec| {
        let path = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&path).any(|folder| folder.join(spec.program()).is_file())
    };
    // Without the first-use dialogue of one of them, which asks questions where there is no file of settings.
    let dull = |spec: SessionSpec| spec.env("ZDOTDIR", "/nonexistent").env("HISTFILE", "/dev/null");
    candidates.into_iter().filter(is_here).map(dull).collect()
}

/// Has each shell run the commands, each with the output and the status that it must have.
async fn each_shell_runs(commands: &[(&str, &str, i32)]) {
    let helper = helper();
    for spec in shells() {
        let session = helper.create_tracked_session(&spec).await.unwrap();
        for (command, output, status) in commands {
            let ran = session.run(command).await.unwrap_or_else(|error| panic!("{spec:?}: {command}: {error}"));
            assert_eq!((ran.stdout(), ran.status()), (*output, *status), "{spec:?}: {command}");
            assert_eq!((ran.success(), ran.dropped_bytes()), (*status == 0, 0));
        }
        session.close().await.unwrap();
    }
}

#[test]
fn a_command_gives_its_output_and_its_status() {
    checked(async || {
        each_shell_runs(&[
            ("echo hi", "hi", 0),
            ("true", "", 0),
            ("false", "", 1),
            ("(exit 7)", "", 7),
            ("(exit 255)", "", 255),
            // Of this signal no shell speaks.
            ("sh -c 'kill -PIPE $$'", "", 141),
            ("printf 'no line end'", "no line end", 0),
            ("printf 'a\\n\\nb\\n\\n'", "a\n\nb\n", 0),
            ("echo out; echo err >&2", "out\nerr", 0),
            ("", "", 0),
            ("   ", "", 0),
            ("# only a comment", "", 0),
            ("echo one; echo two # and a comment", "one\ntwo", 0),
            ("false; echo $?", "1", 0),
        ])
        .await;
    });
}

/// What is set in one command is there in the next, as for a person who types.
#[test]
fn commands_of_one_session_share_its_state() {
    checked(async || {
        each_shell_runs(&[
            ("greeting=hello; cd /", "", 0),
            ("echo $greeting from $(pwd)", "hello from /", 0),
            ("twice() { echo $1 $1; }", "", 0),
            ("twice a", "a a", 0),
            ("set -- x y; echo $#", "2", 0),
            ("echo $#", "2", 0),
        ])
        .await;
    });
}

#[test]
fn a_command_may_have_several_lines() {
    checked(async || {
        each_shell_runs(&[
            ("echo one\necho two", "one\ntwo", 0),
            ("for n in 1 2 3; do\n  echo $n\ndone\n", "1\n2\n3", 0),
            ("cat <<END\n$((6 * 7)) 'quoted' \"too\"\nEND", "42 'quoted' \"too\"", 0),
            ("if true\nthen echo yes\nelse echo no\nfi", "yes", 0),
            ("echo a\\\nb", "ab", 0),
        ])
        .await;
    });
}

#[test]
fn quotes_and_signs_reach_the_shell_as_they_are() {
    checked(async || {
        each_shell_runs(&[
            (r#"echo "it's" 'a "b"'"#, r#"it's a "b""#, 0),
            ("printf '%s\\n' '$HOME' \\$HOME '`date`' '!!' 'a\\nb'", "$HOME\n$HOME\n`date`\n!!\na\\nb", 0),
            ("printf %s\\\\n '100%' '%s' '\\033' '~' '*'", "100%\n%s\n\\033\n~\n*", 0),
            ("echo '\"'\"'\"'\"'", "\"'\"", 0),
        ])
        .await;
    });
}

#[test]
fn unicode_and_tabs_come_back_as_they_went() {
    checked(async || {
        each_shell_runs(&[
            ("echo 'grüße 日本 🦀 e\u{301}'", "grüße 日本 🦀 e\u{301}", 0),
            ("printf '%s\\n' 'a\tb\t\tc'", "a\tb\t\tc", 0),
            ("printf '%s' 'ü\\t\tü' | wc -c", "7", 0),
        ])
        .await;
    });
}

/// A line editor takes tabs, escapes and control characters as keys; in a command they are characters.
#[test]
fn control_characters_in_a_command_are_no_keys() {
    checked(async || {
        each_shell_runs(&[(
            "printf '%s' 'a\x03\x04\x1a\x15\x1b[Ab\x7f' | od -An -tx1 | tr -d ' \\n'",
            "6103041a151b5b41627f",
            0,
        )])
        .await;
    });
}

/// An open quote or bracket is the command's own error, and not a shell that waits for the rest.
#[test]
fn a_syntax_error_is_a_status_and_the_next_command_works() {
    checked(async || {
        let helper = helper();
        for spec in shells() {
            let session = helper.create_tracked_session(&spec).await.unwrap();
            for command in
                ["if", "echo 'unterminated", "echo \"open", "( true", "echo $(", "cat <<", "done", "${", "&& x"]
            {
                let ran = session.run(command).await.unwrap_or_else(|error| panic!("{spec:?}: {command}: {error}"));
                assert!(!ran.success(), "{spec:?}: {command}: {ran:?}");
                let next = session.run("echo fine").await.unwrap();
                assert_eq!((next.stdout(), next.status()), ("fine", 0), "{spec:?}: after {command}");
            }
            session.close().await.unwrap();
        }
    });
}

/// Errors for which a shell gives up the whole line that was typed, or would give up a script.
#[test]
fn an_error_that_ends_a_script_is_a_status_and_the_next_command_works() {
    checked(async || {
        let helper = helper();
        for spec in shells() {
            let session = helper.create_tracked_session(&spec).await.unwrap();
            let commands = [
                "no-such-command",
                ": ${unset?message}",
                ". /no/such/file",
                "readonly R=1; R=2",
                "shift 99",
                "export -Q",
            ];
            for command in commands {
                let ran = session.run(command).await.unwrap_or_else(|error| panic!("{spec:?}: {command}: {error}"));
                assert!(!ran.success(), "{spec:?}: {command}: {ran:?}");
                assert_eq!(session.run("echo fine").await.unwrap().stdout(), "fine", "{spec:?}: after {command}");
            }
            session.close().await.unwrap();
        }
    });
}

async fn shell_that_keeps(bytes: usize) -> (SessionTestHelper, SessionGuard) {
    let helper = SessionTestHelper::new(PtyBackend::new().max_output(bytes));
    let session = helper.create_tracked_session("sh").await.unwrap();
    (helper, session)
}

#[test]
fn output_that_is_more_than_is_kept_ends_as_it_ended_and_says_what_was_dropped() {
    checked(async || {
        let (_helper, session) = shell_that_keeps(4096).await;
        for _ in 0..5 {
            let ran = session.run("seq 100000 120000").await.unwrap();
            assert!(ran.stdout().ends_with("\n119999\n120000"), "{:?}", &ran.stdout()[ran.stdout().len() - 50..]);
            assert!(ran.raw().len() <= 4096 && ran.success());
            // Each number has six digits, a carriage return and a line feed.
            assert!(ran.dropped_bytes() >= 20_001 * 8 - 4096, "{}", ran.dropped_bytes());
        }
        assert_eq!(session.run("echo fine").await.unwrap().stdout(), "fine");
        session.close().await.unwrap();
    });
}

#[test]
fn a_command_may_read_what_is_typed_meanwhile() {
    checked(async || {
        let helper = helper();
        for spec in shells() {
            let session = helper.create_tracked_session(&spec).await.unwrap();
            let talk = async {
                session.wait_for_text("your name? ").await?;
                session.write_line("Ann").await
            };
            let command = "printf 'your na'; printf 'me? '; read name; echo \"hello $name\"";
            let (ran, talked) = tokio::join!(session.run(command), talk);
            talked.unwrap();
            assert!(ran.unwrap().stdout().ends_with("\nhello Ann"), "{spec:?}");
            session.close().await.unwrap();
        }
    });
}

#[test]
fn an_exit_in_a_command_is_the_end_of_the_session_and_told_as_such() {
    checked(async || {
        let helper = helper();
        for spec in shells() {
            let session = helper.create_tracked_session(&spec).await.unwrap();
            let error = session.run("echo going; exit 5").await.unwrap_err();
            assert!(error.is_session_ended(), "{spec:?}: {error}");
            let text = error.to_string();
            assert!(text.contains("exit status 5") && text.contains("going"), "{text}");
            assert_eq!(session.wait_for_exit().await.unwrap(), ExitStatus::Exited(5));
            session.close().await.unwrap();
        }
    });
}

#[test]
fn a_command_that_no_terminal_can_take_is_refused_before_it_is_typed() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session("sh").await.unwrap();
        let long = session.run(&format!("echo {}", "x".repeat(5_000))).await.unwrap_err();
        assert!(long.is_invalid_input());
        insta::assert_snapshot!(masked(&long.to_string(), &["the command is "]), @"the command is N bytes long with its quoting, and a terminal's line holds 4095: write it to a file and run that");
        let nul = session.run("echo \0").await.unwrap_err();
        assert!(nul.is_invalid_input());
        insta::assert_snapshot!(nul, @r#"the command "echo \0" contains a NUL, which no shell can read"#);
        // The longest that fits does.
        let most = format!("echo {}", "x".repeat(3_900));
        assert_eq!(session.run(&most).await.unwrap().stdout().len(), 3_900);
        session.close().await.unwrap();
    });
}

#[test]
fn the_longest_command_fits_in_each_shell() {
    checked(async || {
        let most = format!("echo {}", "x".repeat(3_900));
        each_shell_runs(&[(&most, &"x".repeat(3_900), 0)]).await;
    });
}

#[test]
fn many_commands_one_after_the_other_do_not_mix() {
    checked(async || {
        let helper = helper();
        for spec in shells() {
            let session = helper.create_tracked_session(&spec).await.unwrap();
            for round in 0..50 {
                let ran = session.run(&format!("echo begin {round}; seq {round}; (exit {round})")).await.unwrap();
                let expected: String = (1..=round).map(|n| format!("\n{n}")).collect();
                assert_eq!((ran.stdout(), ran.status()), (&*format!("begin {round}{expected}"), round), "{spec:?}");
            }
            session.close().await.unwrap();
        }
    });
}

#[test]
fn after_an_interrupt_and_after_a_deadline_the_shell_is_usable() {
    checked(async || {
        let helper = helper();
        for spec in shells() {
            let session = helper.create_tracked_session(&spec).await.unwrap();
            session.write_line(FOREGROUND).await.unwrap();
            session.wait_for_text("started\n").await.unwrap();
            session.send_key(Key::CtrlC).await.unwrap();
            assert_eq!(session.run("echo one").await.unwrap().stdout(), "one", "{spec:?}");
            session.clear_output().unwrap();
            let late = session.run_within(FOREGROUND, Duration::from_millis(300)).await.unwrap_err();
            assert!(late.is_timeout(), "{late}");
            session.wait_for_text("started\n").await.unwrap();
            session.send_key(Key::CtrlC).await.unwrap();
            let ran = session.run("echo two").await.unwrap();
            assert_eq!((ran.stdout(), ran.status()), ("two", 0), "{spec:?}");
            session.close().await.unwrap();
        }
    });
}

#[test]
fn a_command_that_takes_too_long_shows_what_it_has_printed() {
    checked(async || {
        let helper = helper();
        let session = helper.create_tracked_session(SessionSpec::new("sh").env("PS1", "$ ")).await.unwrap();
        let spoken = async {
            session.wait_for_text("working\n").await.unwrap();
        };
        let within = Duration::from_millis(500);
        let (late, ()) = tokio::join!(session.run_within("echo working; exec sleep 1000", within), spoken);
        let late = late.unwrap_err();
        assert!(late.is_timeout());
        let text = late.to_string();
        assert!(
            text.starts_with("timed out after 500ms: waiting for the end of `echo working; exec sleep 1000`"),
            "{text}"
        );
        assert!(text.ends_with("working"), "{text}");
        session.close().await.unwrap();
    });
}
