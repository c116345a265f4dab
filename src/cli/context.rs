//! What every noun works with: the connection, the output, whether to ask, whether to plan.
use super::arguments::{ConnectionArguments, GlobalArguments};
use super::confirm::confirm;
use super::connection;
use super::exit::Failure;
use super::interrupt;
use super::output::Output;
use pgsteward::{Cluster, Result};

pub(crate) struct Context {
    pub(crate) cluster: Cluster,
    pub(crate) output: Output,
    yes: bool,
    planning: bool,
}

impl Context {
    pub(crate) fn new(
        connection: &ConnectionArguments,
        global: &GlobalArguments,
    ) -> std::result::Result<Self, Failure> {
        interrupt::catch();
        let cluster = connection::connect(connection)?;
        interrupt::cancels(cluster.canceller());
        Ok(Self { cluster, output: Output::new(global), yes: global.yes, planning: global.plan })
    }

    /// Asks before something that cannot be undone; not with `--yes`, and not for a plan.
    pub(crate) fn ask(&self, question: &str) -> std::result::Result<(), Failure> {
        if self.asks() { confirm(question) } else { Ok(()) }
    }

    /// Makes a change and says so, if there is something to say, or with `--plan` prints what it would send.
    pub(crate) fn change(
        &self,
        done: &str,
        change: impl FnOnce(&Cluster) -> Result<()>,
    ) -> std::result::Result<(), Failure> {
        if self.planning {
            let plan = self.cluster.plan(change)?;
            return self.output.text(&plan.to_string());
        }
        change(&self.cluster)?;
        if !done.is_empty() {
            self.output.say(done);
        }
        Ok(())
    }

    /// Makes a change that has a result, or with `--plan` prints what it would send; then there is none.
    pub(crate) fn make<R>(&self, make: impl FnOnce(&Cluster) -> Result<R>) -> std::result::Result<Option<R>, Failure> {
        let mut made = None;
        self.change("", |cluster| {
            made = Some(make(cluster)?);
            Ok(())
        })?;
        Ok(made.filter(|_| !self.planning))
    }

    /// Whether [`ask`](Context::ask) asks at all.
    pub(crate) fn asks(&self) -> bool {
        !self.yes && !self.planning
    }

    pub(crate) fn is_planning(&self) -> bool {
        self.planning
    }
}
