//! Several at work at the same time.
use super::making::{Maker, Order, Outcome};
use super::{ClientDatabase, ProvisionEvent, ProvisionReport, Provisioned};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

/// What a crew has in common.
struct Work<'p> {
    order: &'p Order<'p>,
    next: AtomicUsize,
    stopped: AtomicBool,
    failed: AtomicUsize,
    succeeded: AtomicUsize,
}

/// What is told of a client, by its place in the list: that it is begun, or what became of it.
type Told = (usize, Option<Result<Outcome>>);

/// Makes all clients, as many at a time as there are jobs.
pub(super) fn work(
    cluster: &Cluster,
    order: &Order<'_>,
    mut progress: impl FnMut(&ProvisionEvent) -> ControlFlow<()>,
) -> Result<ProvisionReport> {
    let zero = || AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let work = Work { order, next: zero(), stopped, failed: zero(), succeeded: zero() };
    // The first connection shows whether there can be any.
    let first = Maker::new(cluster, order)?;
    let clients = &order.provision.clients;
    let mut outcomes: Vec<Option<Result<Outcome>>> = clients.iter().map(|_| None).collect();
    thread::scope(|scope| -> Result<()> {
        // However this ends, by a panic of the callback too, no more are begun.
        let stop = Stop(&work.stopped);
        let (sender, receiver) = mpsc::channel();
        let mut makers = vec![Some(first)];
        makers.resize_with(order.provision.jobs.min(clients.len()), || None);
        for (number, maker) in makers.into_iter().enumerate() {
            let (work, sender) = (&work, sender.clone());
            let run = move || work.run(cluster, maker, &sender);
            let started = thread::Builder::new().name("pgsteward-provision".into()).spawn_scoped(scope, run);
            match started {
                Ok(_) => {}
                Err(error) if number == 0 => return Err(Error::io("start a thread", error)),
                // Those that were started do the work, and what they make is to be in the report.
                Err(error) => {
                    log::warn!("cannot start more than {number} threads: {error}");
                    break;
                }
            }
        }
        drop(sender);
        for (place, outcome) in receiver {
            let Some(client) = clients.get(place) else { continue };
            if progress(&event(client, outcome.as_ref())).is_break() {
                work.stopped.store(true, Ordering::Release);
            }
            if let Some(kept) = outcomes.get_mut(place) {
                *kept = outcome;
            }
        }
        drop(stop);
        Ok(())
    })?;
    Ok(report(clients, outcomes))
}

/// Has no more begun when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Work<'_> {
    /// Makes one client after the other, until there are no more.
    fn run(&self, cluster: &Cluster, maker: Option<Maker<'_>>, sender: &Sender<Told>) {
        let mut maker = maker;
        while let Some((place, client)) = self.take() {
            if sender.send((place, None)).is_err() {
                return;
            }
            let outcome = self.make(cluster, &mut maker, client);
            match &outcome {
                Ok(_) => _ = self.succeeded.fetch_add(1, Ordering::AcqRel),
                // That a name is taken says nothing of other names.
                Err(Error::AlreadyExists { .. } | Error::Conflict { .. }) => {}
                Err(_) => _ = self.failed.fetch_add(1, Ordering::AcqRel),
            }
            let _ = sender.send((place, Some(outcome)));
        }
    }

    fn make<'s>(
        &'s self,
        cluster: &Cluster,
        maker: &mut Option<Maker<'s>>,
        client: &ClientDatabase,
    ) -> Result<Outcome> {
        let maker = match maker {
            Some(maker) => maker,
            None => maker.insert(Maker::new(cluster, self.order)?),
        };
        maker.make(client)
    }

    /// The next client; none when all will fail, as it seems, or it was said to stop.
    fn take(&self) -> Option<(usize, &ClientDatabase)> {
        let Order { provision, cancelled, .. } = self.order;
        let hopeless =
            self.succeeded.load(Ordering::Acquire) == 0 && self.failed.load(Ordering::Acquire) >= provision.jobs;
        if hopeless || self.stopped.load(Ordering::Acquire) || cancelled.happened() {
            return None;
        }
        let place = self.next.fetch_add(1, Ordering::AcqRel);
        provision.clients.get(place).map(|client| (place, client))
    }
}

fn event(client: &ClientDatabase, outcome: Option<&Result<Outcome>>) -> ProvisionEvent {
    let client = client.clone();
    match outcome {
        None => ProvisionEvent::Begun(client),
        Some(Ok(Outcome::Made(_))) => ProvisionEvent::Made(client),
        Some(Ok(Outcome::Skipped)) => ProvisionEvent::Skipped(client),
        Some(Err(error)) => ProvisionEvent::Failed(client, error.clone()),
    }
}

fn report(clients: &[ClientDatabase], outcomes: Vec<Option<Result<Outcome>>>) -> ProvisionReport {
    let mut report = ProvisionReport::default();
    for (client, outcome) in clients.iter().cloned().zip(outcomes) {
        match outcome {
            None => report.not_tried.push(client),
            Some(Ok(Outcome::Made(password))) => report.made.push(Provisioned { client, password }),
            Some(Ok(Outcome::Skipped)) => report.skipped.push(client),
            Some(Err(error)) => report.failed.push((client, error)),
        }
    }
    report
}
