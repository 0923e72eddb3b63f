//! Tasks of the control side that go on as long as the process does. One that panics ends the process, which would go on
//! half blind without it.

use std::convert::Infallible;
use std::future::Future;

use anyhow::anyhow;
use tokio::task::{JoinError, JoinSet};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Tasks(JoinSet<(&'static str, JoinError)>);

impl Tasks {
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = Infallible> + Send + 'static) {
        let task = tokio::spawn(task);
        self.0.spawn(async move {
            let Err(error) = task.await;
            (name, error)
        });
    }

    /// Why one of them has ended, as soon as one has.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self.0.join_next().await {
            Some(Ok((name, error))) => anyhow!("{name} ended: {error}"),
            Some(Err(error)) => error.into(),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_told_with_its_name_and_reason_while_others_go_on() {
        let mut tasks = Tasks::default();
        assert!(tokio::time::timeout(Duration::ZERO, tasks.ended()).await.is_err(), "there is none");
        tasks.spawn("the one that goes on", pending());
        tasks.spawn("the other", async { panic!("for a test") });
        let told = tasks.ended().await.to_string();
        assert!(told.starts_with("the other ended: ") && told.contains("for a test"), "{told}");
        assert!(tokio::time::timeout(Duration::ZERO, tasks.ended()).await.is_err(), "one goes on");
    }
}
