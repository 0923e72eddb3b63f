use proptest::prelude::*;

use super::*;

fn takers(weights: &[u64]) -> Vec<usize> {
    let cycle = Cycle::new(weights);
    (0..cycle.length()).map(|turn| cycle.taker(turn)).collect()
}

/// Few or many takers, weights of all sizes, also equal ones and 0.
fn weights() -> impl Strategy<Value = Vec<u64>> {
    let weight = prop_oneof![0..4_u64, 0..=1000_u64, Just(100)];
    prop::collection::vec(weight, 1..40)
}

#[test]
fn equal_weights_are_everybody_in_order() {
    assert_eq!(takers(&[7, 7, 7]), [0, 1, 2]);
    assert_eq!(takers(&[1]), [0]);
}

#[test]
fn who_is_furthest_behind_its_share_is_next() {
    assert_eq!(takers(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(takers(&[20, 10, 10]), [0, 1, 2, 0]);
    assert_eq!(takers(&[0, 1, 2]), [2, 1, 2]);
}

#[test]
fn without_weights_nobody_has_a_turn() {
    for nobody in [&[][..], &[0], &[0, 0, 0]] {
        assert!(takers(nobody).is_empty());
        let wheel = Wheel::new(nobody.iter().map(|&weight| weight as u16));
        assert_eq!((wheel.turn(), wheel.next(Some), wheel.drawn(7)), (None, None, None));
    }
}

#[test]
fn only_short_cycles_are_written_down() {
    assert!(matches!(Cycle::new(&[1000, 999]), Cycle::Listed(turns) if turns.len() == 1999));
    assert!(matches!(Cycle::new(&[500; 5_000]), Cycle::Even(5_000)));
    let long = Cycle::new(&[1000, 999, 998]);
    assert!(matches!(&long, Cycle::Computed { ends, .. } if ends.len() == 3));
    assert_eq!(long.length(), 2997);
}

#[test]
fn a_number_hits_a_taker_by_weight() {
    let weights = [1, 2, 0, 3];
    let hits: Vec<_> = (0..6).map(|random| draw(0..4, |taker| weights[taker], random).unwrap()).collect();
    assert_eq!(hits, [0, 1, 1, 3, 3, 3]);
    assert_eq!(draw(0..4, |_| 0, 5), None);
}

/// As a continued fraction, the stride's share of the cycle has no large number, and of those the least in all.
#[test]
fn no_stride_near_the_golden_section_is_spread_better() {
    fn fraction(one: u64, other: u64) -> Vec<u64> {
        match (one.checked_div(other), one.checked_rem(other)) {
            (Some(whole), Some(rest)) => [vec![whole], fraction(other, rest)].concat(),
            _ => Vec::new(),
        }
    }
    for length in [2_049, 2_310, 5_000, 10_007, 65_536, 30_030, 1_000_000] {
        let golden = (length as f64 * (5.0_f64.sqrt() - 1.0) / 2.0) as u64;
        let spread = |&stride: &u64| {
            let fraction = fraction(length, stride);
            (fraction.iter().max().copied(), fraction.iter().sum::<u64>())
        };
        let best = (golden - 64..golden + 64).filter(|&stride| gcd(stride, length) == 1).min_by_key(spread).unwrap();
        assert_eq!(stride(length), best, "{length}");
    }
}

#[test]
fn the_patience_for_one_request_is_bounded() {
    let wheel = Wheel::new([1000, 999, 998].into_iter());
    let mut asked = 0;
    assert_eq!(
        wheel.next(|_| {
            asked += 1;
            None::<()>
        }),
        None
    );
    assert_eq!(asked, 67);
}

#[test]
fn a_draw_goes_by_weight_among_those_that_count() {
    let weights = [3, 0, 1];
    let hits = |taker| (0..8).filter(|&random| draw(0..3, |taker| weights[taker], random) == Some(taker)).count();
    assert_eq!([hits(0), hits(1), hits(2)], [6, 0, 2]);
    assert_eq!(draw(0..3, |_| 0, 5), None);
}

proptest! {
    #[test]
    fn over_a_cycle_from_any_turn_everybody_has_its_weight(weights in weights(), start in any::<u32>()) {
        let cycle = Cycle::new(&weights);
        let sum: u64 = weights.iter().sum();
        let mut counted = vec![0; weights.len()];
        for turn in 0..cycle.length() {
            counted[cycle.taker(u64::from(start) + turn)] += 1;
        }
        prop_assert!(sum == 0 || sum.is_multiple_of(cycle.length()));
        let common = sum.checked_div(cycle.length()).unwrap_or(1);
        prop_assert_eq!(counted.iter().map(|turns| turns * common).collect::<Vec<u64>>(), weights);
    }

    #[test]
    fn at_no_turn_anybody_is_far_from_its_share(weights in weights()) {
        let cycle = Cycle::new(&weights);
        let sum: u64 = weights.iter().sum();
        let mut counted = vec![0.0_f64; weights.len()];
        for turn in 0..cycle.length() {
            counted[cycle.taker(turn)] += 1.0;
            for (counted, &weight) in counted.iter().zip(&weights) {
                let share = (turn + 1) as f64 * weight as f64 / sum as f64;
                prop_assert!((counted - share).abs() < 6.0, "{counted} turns of {share} in {turn}");
            }
        }
    }
}
