use super::*;

const MSS: u64 = 1_000;
/// Bytes delivered a millisecond, and the round trip: 200,000 bytes on the path.
const RATE: u64 = 10_000;
const RTT: u64 = 20;

/// A path that acknowledges each millisecond what was sent a round trip before.
struct Driver {
    bbr: Bbr,
    now: Instant,
    delivered: u64,
    rate: u64,
    rtt: u64,
    in_recovery: bool,
    app_limited: bool,
    /// Share of what is in flight that the samples say was lost, in percent.
    lost: u64,
}

impl Driver {
    fn new() -> Self {
        Self {
            bbr: Bbr::new(Instant::ZERO, MSS as u32, 1),
            now: Instant::ZERO,
            delivered: 0,
            rate: RATE,
            rtt: RTT,
            in_recovery: false,
            app_limited: false,
            lost: 0,
        }
    }

    /// One that has seen the path full and cruises.
    fn cruising() -> Self {
        let mut driver = Self::new();
        driver.run_to(Phase::Cruise);
        driver
    }

    fn flight(&self) -> u64 {
        self.rate * self.rtt
    }

    fn ack(&mut self) {
        self.now += Duration::from_millis(1);
        self.delivered += self.rate;
        let prior_delivered = self.delivered.saturating_sub(self.flight());
        let rtt = Duration::from_millis(self.rtt);
        let rate = RateSample {
            delivered: self.delivered - prior_delivered,
            prior_delivered,
            interval: rtt,
            bandwidth: self.rate * 1_000,
            app_limited: self.app_limited,
            lost: self.flight() * self.lost / 100,
            tx_in_flight: self.flight(),
        };
        let ack = AckSample {
            delivered: self.rate,
            in_flight: self.flight(),
            prior_in_flight: self.flight() + self.rate,
            rtt: Some(rtt),
            min_rtt: rtt,
            smoothed_rtt: rtt,
            rate: Some(rate),
            in_recovery: self.in_recovery,
            window_limited: false,
            next_offset: self.delivered + self.flight(),
            una: self.delivered,
        };
        self.bbr.on_ack(self.now, &ack);
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.ack();
        }
    }

    fn run_to(&mut self, phase: Phase) {
        for _ in 0..20_000 {
            if self.bbr.phase == phase {
                return;
            }
            self.ack();
        }
        panic!("{:?} instead of {phase:?}", self.bbr.phase);
    }

    /// `percent` of what is in flight is lost, in one run.
    fn lose(&mut self, percent: u64) {
        let bytes = self.flight() * percent / 100;
        let lost = Lost {
            bytes,
            since_sent: bytes,
            tx_in_flight: self.flight(),
            delivered_since_sent: 0,
            delivered: self.delivered,
            app_limited: self.app_limited,
        };
        self.bbr.on_lost(self.now, &lost);
        self.bbr.on_congestion(self.now);
    }

    /// Rounds that lose so much each.
    fn lossy_rounds(&mut self, rounds: u64, percent: u64) {
        for _ in 0..rounds {
            self.lose(percent);
            self.run(self.rtt + 1);
        }
    }
}

#[test]
fn is_small() {
    assert!(size_of::<Bbr>() < 500, "{}", size_of::<Bbr>());
}

#[test]
fn three_rounds_without_growth_end_startup() {
    let mut driver = Driver::new();
    driver.run(RTT);
    assert_eq!(driver.bbr.phase, Phase::Startup);
    driver.run(4 * RTT);
    assert_ne!(driver.bbr.phase, Phase::Startup);
    assert!(driver.bbr.full_rate_reached);
    assert_eq!(driver.bbr.max_rate(), RATE * 1_000);
    assert_eq!(driver.bbr.product(), Some(RATE * RTT));
}

#[test]
fn growth_by_a_quarter_keeps_startup() {
    let mut driver = Driver::new();
    for _ in 0..10 {
        driver.run(2 * RTT);
        driver.rate = driver.rate * 126 / 100;
    }
    assert_eq!(driver.bbr.phase, Phase::Startup);
}

#[test]
fn growth_in_samples_of_the_application_is_growth() {
    let mut bbr = Bbr::new(Instant::ZERO, MSS as u32, 1);
    let sample = |bandwidth, app_limited| RateSample {
        delivered: 10_000,
        prior_delivered: 10_000,
        interval: Duration::from_millis(RTT),
        bandwidth,
        app_limited,
        lost: 0,
        tx_in_flight: 10_000,
    };
    for (bandwidth, app_limited, reached) in [
        (1_000_000, false, false),
        (1_000_000, false, false),
        (1_000_000, false, false),
        (2_000_000, true, false),
        (1_000_000, false, false),
        (1_000_000, false, false),
        (1_000_000, false, false),
        (1_000_000, false, true),
    ] {
        let rate = sample(bandwidth, app_limited);
        bbr.rounds.end = 0;
        bbr.update_max_rate(&rate);
        bbr.check_full_rate(&rate);
        assert_eq!(bbr.full_rate_reached, reached);
    }
}

#[test]
fn loss_is_a_share_of_what_was_carried_though_little_was_in_flight() {
    let bbr = Bbr::new(Instant::ZERO, MSS as u32, 1);
    assert!(!bbr.too_high(290, 1_000, 400), "the peer's window held back when it was sent");
    assert!(bbr.too_high(310, 1_000, 400));
    assert!(bbr.too_high(130, 300, 400));
}

#[test]
fn pace_is_a_hundredth_below_the_rate() {
    let driver = Driver::cruising();
    assert_eq!(driver.bbr.pacing_rate(), Some(RATE * 990));
    assert!(driver.bbr.window() >= 2 * RATE * RTT);
    assert_eq!(driver.bbr.send_quantum(), Some(9_900));
    assert!(driver.bbr.governs_recovery());
}

#[test]
fn the_first_pace_is_by_the_first_round_trip() {
    let mut driver = Driver::new();
    assert_eq!(driver.bbr.pacing_rate(), Some(27_700_000), "ten segments in a millisecond");
    driver.rate = 10;
    driver.ack();
    assert_eq!(driver.bbr.pacing_rate(), Some(10 * MSS * 1_000 / RTT * 277 / 100));
}

#[test]
fn startup_ends_by_much_loss_in_many_places() {
    let lossy = |places: u64, percent: u64| {
        let mut driver = Driver::new();
        driver.run(2 * RTT);
        for _ in 0..2 {
            for _ in 0..places {
                driver.lose(1);
            }
            driver.in_recovery = true;
            driver.lost = percent;
            // Grows still, but for the loss.
            driver.rate = driver.rate * 13 / 10;
            driver.run(RTT + 5);
        }
        driver.bbr
    };
    assert_eq!(lossy(6, 29).phase, Phase::Startup, "not above the threshold without a queue");
    assert_eq!(lossy(5, 40).phase, Phase::Startup, "a burst");
    let bbr = lossy(6, 31);
    assert_ne!(bbr.phase, Phase::Startup);
    assert_ne!(bbr.inflight_longterm, INFINITE);
}

#[test]
fn loss_without_a_queue_leaves_the_rate() {
    let mut driver = Driver::cruising();
    driver.lossy_rounds(10, 5);
    assert_eq!(driver.bbr.rate_shortterm, INFINITE);
    driver.lossy_rounds(2, 20);
    assert_ne!(driver.bbr.rate_shortterm, INFINITE, "but not if it is much");
}

#[test]
fn loss_with_a_queue_lowers_rate_and_flight_to_what_is_delivered() {
    let mut driver = Driver::cruising();
    driver.rtt = RTT + 3;
    driver.run(3 * RTT);
    assert!(driver.bbr.queue_stands());
    driver.rate = RATE * 8 / 10;
    driver.run(2 * RTT);
    assert_eq!(driver.bbr.rate_shortterm, INFINITE, "nothing is lost yet");
    driver.lossy_rounds(2, 1);
    assert_eq!(driver.bbr.rate_shortterm, RATE * 800);
    assert!(driver.bbr.inflight_shortterm < 2 * RATE * RTT);
    driver.run_to(Phase::Refill);
    assert_eq!(driver.bbr.rate_shortterm, INFINITE, "forgotten before a probe");
}

#[test]
fn a_queue_and_a_much_lower_rate_need_no_loss() {
    let mut driver = Driver::cruising();
    driver.rtt = 2 * RTT;
    driver.rate = RATE / 2;
    driver.run(8 * RTT);
    assert!(driver.bbr.rate_shortterm <= RATE * 700, "{}", driver.bbr.rate_shortterm);
}

#[test]
fn a_probe_that_goes_too_high_bounds_what_is_in_flight() {
    for (queue, too_high, fits) in [(0, 11, 9), (10, 3, 2)] {
        for (percent, bounds) in [(too_high, true), (fits, false)] {
            let mut driver = Driver::cruising();
            driver.run_to(Phase::Up);
            driver.rtt += queue;
            driver.bbr.min_rtt.set_rounds(driver.rtt as u32 * 1_000);
            driver.lose(percent);
            let bbr = &driver.bbr;
            assert_eq!(bbr.inflight_longterm != INFINITE, bounds, "{queue} ms, {percent} %");
            assert_eq!(bbr.phase == Phase::Down, bounds);
            if bounds {
                assert!(bbr.inflight_longterm <= driver.flight());
                assert!(bbr.inflight_longterm >= RATE * RTT * 7 / 10);
            }
        }
    }
}

#[test]
fn after_a_probe_too_high_the_next_is_careful() {
    let mut driver = Driver::cruising();
    driver.run_to(Phase::Up);
    driver.lose(20);
    driver.bbr.on_recovered(driver.now);
    assert!(driver.bbr.last_probe_too_high);
    driver.run_to(Phase::Refill);
    driver.run_to(Phase::Up);
    // In flight is the bound already.
    driver.ack();
    assert_eq!(driver.bbr.phase, Phase::Down);
    assert!(driver.bbr.last_probe_precautionary);
    // Nothing was lost: it probes again at once.
    driver.run(2 * RTT);
    assert!(matches!(driver.bbr.phase, Phase::Refill | Phase::Up), "{:?}", driver.bbr.phase);
}

#[test]
fn the_rate_is_that_of_two_probing_cycles() {
    let mut driver = Driver::cruising();
    driver.run(3 * RTT);
    driver.rate = RATE * 9 / 10;
    driver.run_to(Phase::Up);
    driver.run_to(Phase::Cruise);
    driver.run(RTT * 2);
    assert_eq!(driver.bbr.max_rate(), RATE * 1_000, "the cycle before");
    driver.run_to(Phase::Up);
    driver.run_to(Phase::Cruise);
    driver.run(RTT * 2);
    assert_eq!(driver.bbr.max_rate(), RATE * 900);
}

#[test]
fn samples_of_the_application_only_raise_the_rate() {
    let mut driver = Driver::cruising();
    driver.app_limited = true;
    driver.rate = RATE / 10;
    driver.run(10_000);
    assert_eq!(driver.bbr.max_rate(), RATE * 1_000);
    driver.rate = RATE * 2;
    driver.run(10);
    assert_eq!(driver.bbr.max_rate(), RATE * 2_000);
}

#[test]
fn a_round_trip_is_good_for_ten_seconds() {
    let mut driver = Driver::cruising();
    driver.rtt = 2 * RTT;
    driver.run(8_000);
    assert_eq!(driver.bbr.min_rtt.get(), Some(RTT * 1_000));
    driver.run(4_000);
    assert_eq!(driver.bbr.min_rtt.get(), Some(2 * RTT * 1_000));
}

#[test]
fn a_timeout_leaves_a_segment_until_all_is_repaired() {
    let mut driver = Driver::cruising();
    let window = driver.bbr.window();
    driver.bbr.on_timeout(driver.now, 0);
    assert_eq!(driver.bbr.window(), MSS);
    driver.bbr.on_timeout(driver.now, 0);
    driver.bbr.on_recovered(driver.now);
    assert_eq!(driver.bbr.window(), window);
}

#[test]
fn a_probe_ended_for_nothing_is_begun_again() {
    let mut driver = Driver::cruising();
    driver.run_to(Phase::Up);
    driver.lose(20);
    assert_eq!(driver.bbr.phase, Phase::Down);
    driver.bbr.undo(driver.now);
    assert_eq!(driver.bbr.phase, Phase::Refill);
    assert_eq!(driver.bbr.inflight_longterm, INFINITE);
    driver.bbr.undo(driver.now);
    assert_eq!(driver.bbr.phase, Phase::Refill, "once");
}

#[test]
fn short_term_bounds_set_for_nothing_are_taken_back() {
    let mut driver = Driver::cruising();
    driver.lossy_rounds(3, 20);
    assert_ne!(driver.bbr.rate_shortterm, INFINITE);
    driver.bbr.undo(driver.now);
    assert_eq!(driver.bbr.rate_shortterm, INFINITE);
    assert_eq!(driver.bbr.inflight_shortterm, INFINITE);
}

#[test]
fn startup_ended_for_nothing_goes_on() {
    let mut driver = Driver::new();
    driver.run(RTT);
    for _ in 0..6 {
        driver.lose(3);
    }
    driver.bbr.leave_startup_by_loss();
    driver.run(1);
    assert_ne!(driver.bbr.phase, Phase::Startup);
    driver.bbr.undo(driver.now);
    assert_eq!(driver.bbr.phase, Phase::Startup);
    assert!(!driver.bbr.full_rate_reached);
}

#[test]
fn waits_between_probes_differ() {
    let wait = |seed| {
        let mut bbr = Bbr::new(Instant::ZERO, MSS as u32, seed);
        bbr.start_down(Instant::ZERO);
        bbr.probe_wait
    };
    let waits: Vec<_> = (0..20).map(wait).collect();
    assert!(waits.iter().all(|wait| (2_000..=3_000).contains(&wait.as_millis())));
    assert!(waits.iter().any(|wait| wait.as_millis() < 2_500));
    assert!(waits.iter().any(|wait| wait.as_millis() > 2_500));
    assert_eq!(wait(7), wait(7));
}

#[test]
fn four_segments_stay_in_flight_on_the_thinnest_path() {
    let mut driver = Driver::new();
    driver.rate = MSS / RTT;
    driver.run_to(Phase::ProbeRtt);
    assert_eq!(driver.bbr.product(), Some(MSS));
    assert_eq!(driver.bbr.window(), 4 * MSS);
}
