//! How long to wait before the next try.

use std::time::Duration;

/// First wait.
pub const FIRST: Duration = Duration::from_millis(250);
/// Longest wait.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The wait after `failures` (1, 2, …) failed tries in a row: doubling from [`FIRST`] up to
/// [`LONGEST`], of which `jitter` (0.0..1.0) takes away up to half, so that many targets that failed
/// together do not come back together.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_never_reach_zero() {
        assert_eq!(delay(1, 0.0), FIRST);
        assert_eq!(delay(2, 0.0), FIRST * 2);
        assert_eq!(delay(1000, 0.0), LONGEST);
        assert!(delay(1, 1.0) >= FIRST / 2);
    }
}
