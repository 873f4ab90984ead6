//! The incident, as the example replays it.

use crate::trials::real::Kind;
use termleash::session::BoxError;
use termleash::testing::Scope;

#[path = "../../examples/incident.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
pub(crate) mod example;

pub(crate) async fn the_incident_is_replayed(_: &Scope, _: Kind) -> Result<(), BoxError> {
    let program = example::program().ok_or("it is installed")?;
    let sides = example::replay(&program).await?;
    let shown = example::table(&sides);
    println!("{shown}");
    let [without, with] = &sides;
    assert_eq!(without.terminals, [0, 0], "{shown}");
    assert!(without.died.as_ref().is_some_and(|how| how.contains("SIGABRT")) && without.told.is_none(), "{shown}");
    assert_eq!(with.terminals, [2, 2], "{shown}");
    assert!(with.died.is_none() && with.left == 0 && with.tests > without.tests, "{shown}");
    // Of more tests. It is not flat: VibeTunnel keeps some of each session until its runtime collects it.
    let grew = |side: &example::Side| side.memory[1] - side.memory[0];
    assert!(grew(with) * 2 < grew(without), "{shown}");
    assert!(with.told.as_ref().is_some_and(|told| told.contains("examples/incident.rs:")), "{shown}");
    Ok(())
}
