//! A test's life in miniature: sessions of ours, a stranger's session, and what a kill does to each.
//!
//! `cargo run --example quickstart`

use std::error::Error;
use termleash::process::ProcessHandle;
use termleash::session::Key;
use termleash::{PtyBackend, SessionBackend, SessionSpec, SessionTestHelper};

fn main() -> Result<(), Box<dyn Error>> {
    termleash::block_on(async {
        // Everybody's sessions live on one server; here it is a backend that this process shares with a stranger.
        let server = std::sync::Arc::new(PtyBackend::new());
        let stranger = server.create(&SessionSpec::new("sh")).await.map_err(|cause| cause.to_string())?;
        let strangers_shell = ProcessHandle::open(stranger.leader_pid().ok_or("the stranger's shell has no pid")?)?;

        // A helper knows the sessions that it created, and no others.
        let helper = SessionTestHelper::new(std::sync::Arc::clone(&server));
        let talking = helper.create_tracked_session("bash").await?;
        let daemonic = helper.create_tracked_session("sh").await?;
        let idle = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await?;
        println!(
            "three sessions of ours: {}, {}, {}; a stranger's: {}\n",
            talking.id(),
            daemonic.id(),
            idle.id(),
            stranger.id()
        );

        // Talk to one: a command's output without echo and prompt, and its status.
        let size = talking.run("stty size").await?;
        println!("`stty size` in {} printed {:?}, status {}", talking.id(), size.stdout(), size.status());
        talking.resize(50, 132).await?;
        println!("after a resize it prints {:?}", talking.run("stty size").await?.stdout());
        talking.write_line("sleep 1000").await?;
        talking.send_key(Key::CtrlC).await?;
        println!("Ctrl-C interrupts: `false` then has status {}\n", talking.run("false").await?.status());

        // Start what outlives its shell: a grandchild in a session of its own that ignores the hang-up.
        let started = daemonic.run("setsid nohup sleep 1000 </dev/null >/dev/null 2>&1 & echo $!").await?;
        println!("{} has started a daemon, pid {}", daemonic.id(), started.stdout());

        // Leave all three to the helper, and have it end them: together, and proven.
        let ours = [talking.keep(), daemonic.keep(), idle.keep()];
        let report = helper.kill_tracked_sessions().await?;

        println!("\nended together, and proven, in {:.1?}:", report.took());
        println!("{:<10} {:<24} {:>7}", "session", "ended by", "signals");
        for outcome in report.outcomes() {
            let exit = outcome.exit().map_or_else(|| "unknown".to_owned(), |exit| exit.to_string());
            let id = outcome.id().map_or("-", |id| id.as_str());
            println!("{id:<10} {exit:<24} {:>7}", outcome.steps().len());
        }
        println!("{:<10} {:<24} {:>7}", stranger.id(), "lives", 0);

        assert!(strangers_shell.is_alive(), "a stranger's session was touched");
        assert!(ours.iter().all(|session| session.leader().is_none_or(|leader| !leader.is_alive())));
        assert!(helper.survivors()?.is_empty(), "something of ours is left");
        println!("\nnothing of ours is left, and the stranger's shell (pid {}) lives", strangers_shell.pid());

        // The stranger leaves by itself.
        server.kill(stranger.id()).await.map_err(|cause| cause.to_string())?;
        server.discard_record(stranger.id()).await.map_err(|cause| cause.to_string())?;
        Ok(())
    })
}
