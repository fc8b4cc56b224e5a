//! Medians, spreads and means of few measurements.

/// Smallest, middle and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

/// `None` when there are no values.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => return None,
        even if even.is_multiple_of(2) => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    };
    Some(Spread { low: values[0], median, high: values[values.len() - 1] })
}

/// Geometric mean, the one for ratios; `None` when there is nothing, or something that is no positive number.
pub fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    if ratios.is_empty() || ratios.iter().any(|ratio| !ratio.is_finite() || *ratio <= 0.0) {
        return None;
    }
    Some((ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_low_median_high() {
        let check = |values: &[f64], low, median, high| {
            assert_eq!(spread(values), Some(Spread { low, median, high }), "{values:?}");
        };
        check(&[3.0, 1.0, 2.0], 1.0, 2.0, 3.0);
        check(&[4.0, 1.0, 2.0, 10.0], 1.0, 3.0, 10.0);
        check(&[5.0], 5.0, 5.0, 5.0);
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn geometric_mean_is_symmetric_for_ratios() {
        assert!((geometric_mean(&[2.0, 8.0]).unwrap() - 4.0).abs() < 1e-12);
        assert!((geometric_mean(&[0.5, 2.0]).unwrap() - 1.0).abs() < 1e-12);
        for none in [&[][..], &[1.0, 0.0], &[1.0, f64::NAN], &[-1.0], &[f64::INFINITY]] {
            assert_eq!(geometric_mean(none), None, "{none:?}");
        }
    }
}
