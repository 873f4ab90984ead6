//! The servers themselves under the leak hunt: rounds of sessions that are made and killed.

use crate::trials::real::{Kind, Real};
use std::time::Duration;
use termleash::SessionSpec;
use termleash::leak::{LeakHunt, Verdict};
use termleash::session::BoxError;
use termleash::testing::Scope;

pub(crate) async fn rounds_leave_nothing_in_the_server(t: &Scope, kind: Kind) -> Result<(), BoxError> {
    let real = Real::start(kind, t).await?;
    let helper = real.helper(t);
    let server = real.server().ok_or("it has one")?;
    let rounds = if kind == Kind::Tmux { 60 } else { 30 };
    let hunt = LeakHunt::on(server.process()).exclusive().rounds(rounds..=rounds).sessions_per_round(1);
    let hunt = hunt.quiet_window(Duration::from_millis(20));
    let report = hunt
        .run(async |_| {
            helper.create_tracked_session(SessionSpec::new("sleep").arg("2000")).await?.close().await?;
            Ok(())
        })
        .await?;
    println!("{report}");
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    Ok(())
}
