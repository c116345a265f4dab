//! How many statements took how long.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds, in microseconds; behind the last there is one more place without a bound.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// How many statements took how long, in steps from 100 microseconds to 10 seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    numbers: [u64; BOUNDS.len() + 1],
}

impl Histogram {
    /// How many there are in all.
    pub fn count(&self) -> u64 {
        self.numbers.iter().sum()
    }

    /// Each step: the duration up to which, and including which, it goes, and how many took longer than the step before and
    /// no longer than that. The last has no bound.
    pub fn steps(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|bound| Some(Duration::from_micros(*bound))).chain([None]);
        bounds.zip(self.numbers.iter().copied())
    }

    /// The bound of the step in which a share of all statements, from 0 to 1, has ended: for 0.95, of 95 in 100 it is known
    /// that they took no longer. None where that is the step without a bound, and of no statements.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        // As many as 2^53 are exact; nobody sees the difference beyond.
        let wanted = (share.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut ended = 0;
        self.steps().find_map(|(bound, number)| {
            ended += number;
            (ended >= wanted).then_some(bound)
        })?
    }
}

/// The same, in the making by many threads at once.
#[derive(Default)]
pub(super) struct Counts {
    numbers: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds, as the next.
    total: AtomicU64,
    longest: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, duration: Duration) {
        let step = BOUNDS.iter().position(|bound| duration <= Duration::from_micros(*bound)).unwrap_or(BOUNDS.len());
        if let Some(number) = self.numbers.get(step) {
            number.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.total.fetch_add(nanoseconds, Ordering::Relaxed);
        self.longest.fetch_max(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn histogram(&self) -> Histogram {
        Histogram { numbers: self.numbers.each_ref().map(|number| number.load(Ordering::Relaxed)) }
    }

    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.total.load(Ordering::Relaxed))
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(microseconds: &[u64]) -> Histogram {
        let counts = Counts::default();
        microseconds.iter().for_each(|number| counts.add(Duration::from_micros(*number)));
        counts.histogram()
    }

    #[test]
    fn each_duration_has_its_step_with_the_bound_in_it() {
        let histogram = of(&[0, 100, 101, 250, 10_000_000, 10_000_001, u64::MAX / 1000]);
        let steps: Vec<_> = histogram.steps().filter(|(_, number)| *number > 0).collect();
        let bound = |microseconds| Some(Duration::from_micros(microseconds));
        assert_eq!(steps, [(bound(100), 2), (bound(250), 2), (bound(10_000_000), 1), (None, 2)]);
        assert_eq!((histogram.count(), histogram.steps().count()), (7, 17));
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_step_in_which_the_share_has_ended() {
        let mut durations = vec![50; 95];
        durations.extend([700; 4]);
        durations.push(20_000_000);
        let histogram = of(&durations);
        let bound = |microseconds| Some(Duration::from_micros(microseconds));
        assert_eq!([0.0, 0.5, 0.95].map(|share| histogram.quantile(share)), [bound(100); 3]);
        assert_eq!([0.951, 0.99].map(|share| histogram.quantile(share)), [bound(1_000); 2]);
        assert_eq!([1.0, 7.0].map(|share| histogram.quantile(share)), [None; 2]);
        assert_eq!(of(&[]).quantile(0.5), None);
    }
}
