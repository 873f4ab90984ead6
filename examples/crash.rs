//! A test that kills itself with SIGKILL amid shells whose children nobody finds by their parents: what follows.
//!
//! ```text
//! cargo run --example crash
//! ```

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use termleash::SessionSpec;
use termleash::process::ProcessHandle;

/// The argument under which this program comes to the test again, in the process that runs it.
const AGAIN: &str = "--again";

/// What each shell leaves behind: each sleeps for an hour.
const SHELLS: [(&str, &str); 4] = [
    ("a daemon of a kernel session of its own", "setsid sleep 3600 & sleep 3600"),
    ("one that heeds no hang-up", "trap '' HUP TERM; sleep 3600 & sleep 3600"),
    ("one without its environment", "setsid env -i sleep 3600 & sleep 3600"),
    ("one that was started by nohup", "nohup sleep 3600 >/dev/null 2>&1 & sleep 3600"),
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(AGAIN) {
        test();
        return ExitCode::SUCCESS;
    }
    println!("Somebody else's program, the same as those of the test:");
    let bystander = Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn();
    let mut bystander = match bystander {
        Ok(bystander) => bystander,
        Err(cause) => {
            eprintln!("`sleep` could not be started: {cause}");
            return ExitCode::FAILURE;
        }
    };
    println!("  sleep 3600, pid {}\n", bystander.id());

    // What the test fails with is shown below.
    std::panic::set_hook(Box::new(|_| ()));
    let ended = std::panic::catch_unwind(test);
    let _ = std::panic::take_hook();
    match ended.map_err(|payload| payload.downcast::<String>()) {
        Err(Ok(text)) => println!("\nWhat the test's runner says:\n{}\n", indented(&text)),
        Err(Err(_)) => println!("\nThe test failed, and did not say why."),
        Ok(()) => println!("\nThe test has not killed itself: it needs Linux.\n"),
    }
    let lives = matches!(bystander.try_wait(), Ok(None)) && ProcessHandle::open(bystander.id()).is_ok();
    println!("Somebody else's program {}.", if lives { "lives" } else { "is dead, which must not be" });
    // Our own child, and so no other by now.
    let _ = bystander.kill().and_then(|()| bystander.wait());
    if lives { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn test() {
    termleash::options().name("a test that kills itself").rerun_with([AGAIN]).run(async |t| {
        for (what, script) in SHELLS {
            let session = t.session(SessionSpec::shell(script)).await?;
            println!("The test starts {what}: `{script}`, pid {}", session.leader_pid().unwrap_or_default());
            session.keep();
        }
        // Time for them to start what they start.
        std::thread::sleep(Duration::from_millis(300));
        println!("The test, pid {}, kills itself.", std::process::id());
        let own = std::process::id().to_string();
        Command::new("kill").args(["-KILL", &own]).status()?;
        Ok(())
    });
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
