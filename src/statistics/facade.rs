//! The same figures for whoever collects a program's metrics.
use std::time::Duration;

/// Tells the facade of a statement that has ended, with the SQLSTATE if it has failed.
pub(super) fn tell(name: &str, duration: Duration, is_slow: bool, sqlstate: Option<&str>) {
    let name = name.to_owned();
    metrics::counter!("pgsteward_statements_total", "name" => name.clone()).increment(1);
    metrics::histogram!("pgsteward_statement_seconds", "name" => name.clone()).record(duration.as_secs_f64());
    if is_slow {
        metrics::counter!("pgsteward_slow_statements_total", "name" => name.clone()).increment(1);
    }
    if let Some(sqlstate) = sqlstate {
        let sqlstate = sqlstate.to_owned();
        metrics::counter!("pgsteward_statement_errors_total", "name" => name, "sqlstate" => sqlstate).increment(1);
    }
}

#[cfg(feature = "pool")]
impl crate::pool::PoolMetrics {
    /// Sets these figures in the [`metrics`](https://docs.rs/metrics) facade, with the label `name`; to be called now and
    /// then. Gauges: `pgsteward_pool_connections` with the label `state` (`idle`, `in_use`, `connecting`),
    /// `pgsteward_pool_maximum` and `pgsteward_pool_waiting`. Counters: `pgsteward_pool_created_total`,
    /// `pgsteward_pool_closed_total`, `pgsteward_pool_checkouts_total` and `pgsteward_pool_timeouts_total`; and
    /// `pgsteward_pool_wait_seconds_total`, a gauge, since counters are whole numbers.
    pub fn publish(&self, name: &str) {
        let gauge = |key: &'static str, value: f64| metrics::gauge!(key, "name" => name.to_owned()).set(value);
        let counter = |key: &'static str, value| metrics::counter!(key, "name" => name.to_owned()).absolute(value);
        // A process has less than 2^53 connections.
        for (state, number) in [("idle", self.idle), ("in_use", self.in_use), ("connecting", self.connecting)] {
            metrics::gauge!("pgsteward_pool_connections", "name" => name.to_owned(), "state" => state)
                .set(number as f64);
        }
        gauge("pgsteward_pool_maximum", self.maximum as f64);
        gauge("pgsteward_pool_waiting", self.waiting as f64);
        gauge("pgsteward_pool_wait_seconds_total", self.wait.as_secs_f64());
        counter("pgsteward_pool_created_total", self.created);
        counter("pgsteward_pool_closed_total", self.closed);
        counter("pgsteward_pool_checkouts_total", self.checkouts);
        counter("pgsteward_pool_timeouts_total", self.timeouts);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Statistics, StatisticsOptions};
    use metrics::{
        Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };
    use postgres::error::SqlState;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// What was told, as text.
    #[derive(Default)]
    struct Told(Arc<Mutex<BTreeMap<String, f64>>>);

    struct Cell(Arc<Mutex<BTreeMap<String, f64>>>, String);

    impl Cell {
        fn add(&self, value: f64) {
            *self.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
        }
    }

    impl CounterFn for Cell {
        fn increment(&self, value: u64) {
            self.add(value as f64);
        }
        fn absolute(&self, _: u64) {}
    }

    impl HistogramFn for Cell {
        fn record(&self, value: f64) {
            self.add(value);
        }
    }

    impl Told {
        fn cell(&self, key: &Key) -> Arc<Cell> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Cell(self.0.clone(), format!("{} {}", key.name(), labels.join(","))))
        }
    }

    impl Recorder for Told {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.cell(key))
        }
    }

    #[test]
    fn each_statement_is_told_to_the_facade_if_that_is_wanted() {
        let (told, mut options) = (Told::default(), StatisticsOptions::new());
        let count = |options: &StatisticsOptions| {
            metrics::with_local_recorder(&told, || {
                let statistics = Statistics::new(options.clone());
                statistics.count("a", Duration::from_secs(2), Some(Some(&SqlState::UNIQUE_VIOLATION)));
                statistics.count("b", Duration::from_millis(500), None);
            });
        };
        count(&options);
        assert!(told.0.lock().unwrap().is_empty());
        options.facade = Some("shop".into());
        count(&options);
        let expected = [
            ("pgsteward_slow_statements_total name=shop", 1.0),
            ("pgsteward_statement_errors_total name=shop,sqlstate=23505", 1.0),
            ("pgsteward_statement_seconds name=shop", 2.5),
            ("pgsteward_statements_total name=shop", 2.0),
        ];
        assert_eq!(*told.0.lock().unwrap(), expected.map(|(key, value)| (key.to_owned(), value)).into());
    }
}
