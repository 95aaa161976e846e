//! How a stream sounds, on the scale of a mean opinion score: the E-model (ITU-T G.107) with what RTP tells, for a codec that hides
//! single losses. An estimate to compare calls by, no measurement.

use std::time::Duration;

/// From 1, bad, to 4.4, as good as a telephone gets. `lost`: the share of packets, 0 to 1. `round_trip`: zero where it is not known.
#[must_use]
pub fn mean_opinion_score(lost: f64, jitter: Duration, round_trip: Duration) -> f64 {
    // A jitter buffer is twice as deep as the jitter, and a codec takes some 10 ms.
    let delay_ms = (round_trip.as_secs_f64() / 2.0 + jitter.as_secs_f64() * 2.0) * 1000.0 + 10.0;
    let by_delay = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    // G.113 appendix I: G.711 with concealment loses 95 * p / (p + 25) for p percent of random loss.
    let percent = lost.clamp(0.0, 1.0) * 100.0;
    let by_loss = 95.0 * percent / (percent + 25.0);
    let r = (93.2 - by_delay - by_loss).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_with_loss_and_delay() {
        let ms = Duration::from_millis;
        let score = |lost, jitter, round_trip| {
            let score = mean_opinion_score(lost, ms(jitter), ms(round_trip));
            (score * 10.0).round() / 10.0
        };
        assert_eq!(score(0.0, 0, 0), 4.4);
        assert_eq!(score(0.01, 5, 40), 4.3);
        assert_eq!(score(0.05, 20, 200), 3.8);
        assert_eq!(score(0.0, 50, 600), 3.0);
        assert_eq!(score(1.0, 1000, 5000), 1.0);
    }
}
