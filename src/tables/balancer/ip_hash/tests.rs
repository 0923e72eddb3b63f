use super::*;

/// Replicas of another version must choose the same, so these never change.
#[test]
fn the_hash_stays_as_it_is() {
    let keys = ["10.0.0.1:80", "10.0.0.1:81", "[2001:db8::1]:80"].map(|address| key(address.parse().unwrap()));
    let clients = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"].map(|address| hash(address.parse().unwrap()));
    assert_eq!(keys, [6_365_810_629_888_766_924, 5_855_831_450_719_065_280, 7_555_182_650_661_787_317]);
    assert_eq!(clients, [5_259_219_307_909_006_384, 5_259_219_307_909_006_384, 7_220_325_305_189_332_931]);
}

#[test]
fn the_logarithm_is_right_to_eight_digits() {
    for step in 1..100_000_u32 {
        let number = f64::from(step) / 100_000.0;
        assert!((ln(number) - number.ln()).abs() < 1e-8 * number.ln().abs().max(1.0), "{number}");
    }
    assert!((ln(2.0_f64.powi(-54)) + 54.0 * std::f64::consts::LN_2).abs() < 1e-6);
}

#[test]
fn a_score_grows_with_the_hash() {
    let scores: Vec<_> = (0..1_000).map(|step| score(u64::MAX / 1_000 * step, 3)).collect();
    assert!(scores.is_sorted_by(|one, other| one < other));
    assert!(score(0, 1).is_finite() && score(u64::MAX, 1) < 0.0);
}
