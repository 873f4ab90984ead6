//! What a caller has a hunt ask or do: closures, boxed so that a hunt has no type parameter.

use crate::error::BoxError;
use crate::leak::hunt_report::HuntReport;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + 'a>>;
type Asked<T> = Arc<dyn Fn() -> Answer<'static, T> + Send + Sync>;
type Told = Arc<dyn for<'a> Fn(&'a HuntReport) -> Answer<'a, String> + Send + Sync>;

/// The closures of one hunt.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) records: Option<Asked<u64>>,
    pub(crate) before_sample: Option<Asked<()>>,
    pub(crate) on_leak: Option<Told>,
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
