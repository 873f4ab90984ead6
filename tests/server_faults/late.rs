//! A server that answers before its session's program can be told by its environment, and that knows no leader.

use crate::processes::{carriers, end_carriers};
use std::process::{Command, Stdio};
use std::time::Duration;
use termleash::session::{BoxError, Created, SessionId, SessionState};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

/// In an exec it is an instant; here it is long enough for any look.
const UNSEEN: &str = "0.05";

/// Each session shows its environment late. With `fails` the answer to the creation is an error all the same.
struct Late {
    fails: bool,
}

impl SessionBackend for Late {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        let variables: Vec<_> = spec.environment().filter_map(|(name, value)| Some((name, value?))).collect();
        let mut command = Command::new("sh");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.args(["-c", "sleep $0; exec env \"$@\"", UNSEEN]);
        for (name, value) in variables {
            command.arg(format!("{}={}", name.display(), value.display()));
        }
        let mut child = command.arg(spec.program()).args(spec.arguments()).spawn()?;
        std::thread::spawn(move || child.wait());
        if self.fails { Err("no answer".into()) } else { Ok(Created::new(SessionId::new("late")?)) }
    }

    async fn kill(&self, _id: &SessionId) -> Result<(), BoxError> {
        Ok(())
    }

    async fn state(&self, _id: &SessionId) -> Result<SessionState, BoxError> {
        Ok(SessionState::Unknown)
    }
}

fn ends(fails: bool) {
    let mark = format!("1000.5{:07}{}", std::process::id(), u8::from(fails));
    termleash::block_on(async {
        let helper = SessionTestHelper::new(Late { fails });
        match helper.create_tracked_session(SessionSpec::new("sleep").arg(&mark)).await {
            Ok(guard) => assert!(guard.close().await.expect("a proven end").is_proven()),
            Err(cause) => assert!(fails, "{cause}"),
        }
    });
    // By now it would be there.
    std::thread::sleep(Duration::from_millis(400));
    let left = carriers(&mark);
    end_carriers(&mark);
    assert!(left.is_empty(), "these are left behind a proven end: {left:#?}");
}

#[test]
fn a_session_that_shows_its_cookie_late_is_ended_all_the_same() {
    ends(false);
}

#[test]
fn so_is_one_whose_creation_was_answered_with_an_error() {
    ends(true);
}
