//! What a caller has a hunt ask or do: closures, boxed so that a hunt has no type parameter.

use crate::error::{BoxError, Error, Result};
use crate::leak::hunt_report::HuntReport;
use crate::process::pump::Pump;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + 'a>>;
type Asked<T> = Arc<dyn Fn() -> Answer<'static, T> + Send + Sync>;
type Told = Arc<dyn for<'a> Fn(&'a HuntReport) -> Answer<'a, String> + Send + Sync>;

/// The closures of one hunt.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) records: Option<Asked<u64>>,
    pub(crate) before_sample: Option<Asked<()>>,
    pub(crate) on_leak: Option<Told>,
    /// How long one call may take; what hangs would hang the test for ever.
    pub(crate) limit: Option<Duration>,
}

impl Hooks {
    /// Each call may take so long, unless the caller has said how long.
    pub(crate) fn keep_to(&mut self, limit: Duration) {
        self.limit.get_or_insert(limit);
    }

    /// What is to be done before a sample.
    pub(crate) async fn prepare(&self, round: usize) -> Result<()> {
        let Some(hook) = &self.before_sample else { return Ok(()) };
        self.answer("before_sample", &format!("after round {round}"), hook()).await
    }

    /// How many records there are, if anybody counts them.
    pub(crate) async fn count(&self, round: usize) -> Result<Option<u64>> {
        let Some(hook) = &self.records else { return Ok(None) };
        self.answer("records", &format!("after round {round}"), hook()).await.map(Some)
    }

    /// What is answered to a leak; an error of it is no other verdict, so that it is an answer, too.
    pub(crate) async fn tell(&self, report: &HuntReport) -> Option<String> {
        let answer = self.answer("on_leak", "at its end", self.on_leak.as_ref()?(report)).await;
        Some(answer.unwrap_or_else(|cause| cause.to_string()))
    }

    async fn answer<T>(&self, hook: &str, when: &str, answer: Answer<'_, T>) -> Result<T> {
        let limit = self.limit.unwrap_or(Duration::MAX);
        let late = || {
            let to_do = "see what it waits for, or give it more time by `hooks_within`";
            Error::timeout(format!("`{hook}` of a leak hunt {when}, which was given up: {to_do}"), limit)
        };
        let answer = Pump::get()?.within(limit, answer).await.ok_or_else(late)?;
        answer.map_err(|cause| Error::backend(format!("`{hook}` of a leak hunt failed {when}"), cause))
    }
}

/// Boxes one that asks or does something.
pub(crate) fn boxed<T: 'static>(hook: impl AsyncFn() -> Result<T, BoxError> + Send + Sync + 'static) -> Asked<T> {
    let hook = Arc::new(hook);
    Arc::new(move || {
        let hook = Arc::clone(&hook);
        Box::pin(async move { hook().await })
    })
}

/// Boxes one that is told of a leak.
pub(crate) fn boxed_told(hook: impl AsyncFn(&HuntReport) -> Result<String, BoxError> + Send + Sync + 'static) -> Told {
    let hook = Arc::new(hook);
    Arc::new(move |report| {
        let hook = Arc::clone(&hook);
        Box::pin(async move { hook(report).await })
    })
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("records", &self.records.is_some())
            .field("before_sample", &self.before_sample.is_some())
            .field("on_leak", &self.on_leak.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use std::future::pending;

    #[test]
    fn what_hangs_is_given_up_and_what_fails_is_named() {
        let limit = Some(Duration::from_millis(5));
        let hang = Hooks {
            records: Some(boxed(async || pending().await)),
            before_sample: Some(boxed(async || pending().await)),
            on_leak: None,
            limit,
        };
        for (hook, said) in [
            ("`before_sample`", park_on(hang.prepare(3)).unwrap_err()),
            ("`records`", park_on(hang.count(3)).unwrap_err()),
        ] {
            let text = said.to_string();
            assert!(said.is_timeout() && text.contains(hook) && text.contains("round 3"), "{text}");
            assert!(text.contains("hooks_within"), "{text}");
        }
        let failing = Hooks { before_sample: Some(boxed(async || Err("no route".into()))), limit, ..Hooks::default() };
        let text = park_on(failing.prepare(3)).unwrap_err().to_string();
        assert!(text.starts_with("`before_sample` of a leak hunt failed after round 3"), "{text}");
        assert_eq!(park_on(failing.count(3)).unwrap(), None);
    }
}
