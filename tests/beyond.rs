//! Sessions and tests that go over a limit which the keeper keeps: the one is ended, and nothing else.

#![cfg(all(target_os = "linux", feature = "tokio"))]

mod children;

use children::{Ran, alone};
use termleash::SessionSpec;
use termleash::session::BoxError;
use termleash::testing::{Limits, Scope};
use termleash::tracker::SessionGuard;

const MIB: u64 = 1 << 20;

/// Fills memory by 100 MB each second, up to 600 MB, and stays.
const GROWS: &str = "perl -e 'for (1..60) { push @x, \"x\" x 10_000_000; select undef, undef, undef, 0.1 } sleep 1000'";

/// Answers as long as it lives.
async fn bystander(t: &Scope) -> Result<SessionGuard, BoxError> {
    let session = t.session(SessionSpec::new("cat")).await?;
    answers(&session).await?;
    Ok(session)
}

async fn answers(session: &SessionGuard) -> Result<(), BoxError> {
    session.clear_output()?;
    session.write_line("here").await?;
    session.wait_for_text("here\nhere").await?;
    Ok(())
}

fn within(limits: Limits, script: &'static str) -> Option<Ran> {
    let ran = alone(&[]);
    if ran.is_none() {
        termleash::options().limits(limits).run(async move |t| {
            let other = bystander(t).await?;
            let session = t.session(SessionSpec::shell(script)).await?;
            session.wait_for_exit().await?;
            answers(&other).await?;
            println!("the other one answers");
            Ok(())
        });
    }
    ran
}

/// The megabytes, or the number, that it had when it was ended.
fn had(ran: &Ran) -> f64 {
    let (_, rest) = ran.text.split_once("it had ").expect("it says what it had");
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_session_that_grows_is_ended_alone_within_one_and_a_half_of_its_limit() {
    let Some(ran) = within(Limits::new().max_memory(64 * MIB), GROWS) else { return };
    ran.failed().says(&[
        "the other one answers",
        "session `perl",
        "made at tests/beyond.rs:",
        "its limit of 64.0 MiB of memory",
    ]);
    ran.says(&["after ", "in 2 process", "it alone was ended"]).says(&["TERMLEASH_SESSION_MEMORY"]);
    let had = had(&ran);
    assert!((64.0..96.0).contains(&had), "{had}");
}
