//! Does another instance of the program run? Those that are found are named, and no more.

use crate::server::preflight::checklist::Finding;
use crate::server::preflight::pass::{Pass, described_all};
use crate::server::preflight::programs::Wanted;
use crate::sys::ProcReader;

pub(crate) fn judge(reader: &mut ProcReader, wanted: &Result<Wanted, String>, pass: &Pass) -> Finding {
    if let Err(cause) = wanted {
        let here = std::env::current_dir().unwrap_or_default();
        let to_do = format!("build it first, or give its path as it is found from `{}`", here.display());
        let cause = format!("{cause}, so that its instances could not be looked for");
        return Finding::could_not_look(cause).advise(to_do);
    }
    if pass.programs.is_empty() {
        return Finding::passed("no other instance runs");
    }
    let text = format!("{} run: {}", pass.programs.len(), described_all(reader, &pass.programs));
    let to_do = "see whether they are yours, and what they serve: a server that another suite or a person uses must not \
                 be the one under test; give the tests one of their own";
    Finding::failed(text, to_do)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::server::preflight::checklist::CheckOutcome;

    #[test]
    fn a_program_that_is_not_there_is_to_be_built_or_named_from_here() {
        let wanted = Wanted::find("sh no-such-script.sh");
        let found = judge(&mut ProcReader::new().unwrap(), &wanted, &Pass::default());
        assert_eq!(found.outcome, CheckOutcome::CouldNotLook);
        let here = std::env::current_dir().unwrap();
        let parts = ["build it first", here.to_str().unwrap()];
        assert!(parts.iter().all(|part| found.to_do.contains(part)), "{}", found.to_do);
    }
}
