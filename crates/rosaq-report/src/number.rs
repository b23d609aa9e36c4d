//! Numbers as people read them.

/// Stands for a number that cannot be shown.
pub(crate) const ABSENT: &str = "–";

/// `value` with `digits` significant digits: `0.01235`, `4.310`, `12,346`, `1.235 × 10⁻⁷`.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let precision = digits.saturating_sub(1);
    let scientific = format!("{value:.precision$e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..=6).contains(&exponent) {
        return format!("{mantissa} × 10{}", superscript(exponent));
    }
    let decimals = usize::try_from(precision as i64 - i64::from(exponent)).unwrap_or(0);
    group_thousands(&format!("{value:.decimals$}"))
}

/// A whole number with thousands separators.
pub(crate) fn count(n: u64) -> String {
    group_thousands(&n.to_string())
}

/// Bytes in decimal units: `538 B`, `74.52 MB`, `1.021 GB`.
pub(crate) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{n} B") } else { format!("{} {unit}", significant(value, 4)) }
}

/// Seconds: `0.420 s`, `12.3 s`, `4 min 12 s`, `2 h 05 min`.
pub(crate) fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return ABSENT.to_owned();
    }
    if value < 59.95 {
        return format!("{} s", significant(value, 3));
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and no run takes that long")]
    let whole = value.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", count(whole / 3600), whole % 3600 / 60)
    }
}

/// A share as percent: `91.2 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", significant(100.0 * share, 3))
}

/// By how much `after` is above `before`, in percent with its sign; `None` where that means nothing.
pub(crate) fn change(before: f64, after: f64) -> Option<String> {
    let relative = after / before - 1.0;
    let sign = if relative < 0.0 { "−" } else { "+" };
    (before > 0.0 && relative.is_finite()).then(|| format!("{sign}{}", percent(relative.abs())))
}

/// A figure with its standard error to two digits, and no digit of the figure beyond: `0.1521 ± 0.0012`.
pub(crate) fn with_error(value: f64, stderr: Option<f64>) -> String {
    let digits = |e: &f64| (0.0..8.0).contains(&(1.0 - e.log10().floor()));
    match stderr.filter(|e| *e > 0.0 && value.is_finite()) {
        Some(e) if digits(&e) && value.abs() < 1e6 => {
            #[expect(clippy::cast_possible_truncation, reason = "from 0 to 7, see above")]
            let decimals = (1.0 - e.log10().floor()) as usize;
            format!("{value:.decimals$} ± {e:.decimals$}")
        }
        Some(e) if e.is_finite() => format!("{} ± {}", significant(value, 4), significant(e, 2)),
        _ => significant(value, 4),
    }
}

/// A number without trailing zeros, for ticks and code widths: `0.5`, `128`, `10⁻⁵`.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
        let scientific = format!("{value:.1e}");
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let power = format!("10{}", superscript(exponent.parse().unwrap_or(0)));
        return match mantissa.trim_end_matches(".0") {
            "1" => power,
            mantissa => format!("{mantissa}·{power}"),
        };
    }
    let fixed = format!("{value:.6}");
    fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn superscript(exponent: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raise = |c: char| c.to_digit(10).map_or('⁻', |digit| DIGITS[digit as usize]);
    exponent.to_string().chars().map(raise).collect()
}

/// Puts commas into the whole part of a decimal number.
fn group_thousands(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let digits = whole.trim_start_matches('-');
    let mut out = whole[..whole.len() - digits.len()].to_owned();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn significant_digits() {
        let cases = [
            (4.31, "4.310"),
            (0.152_14, "0.1521"),
            (29.937, "29.94"),
            (148.544, "148.5"),
            (12_345.6, "12,346"),
            (-0.5, "-0.5000"),
            (0.0, "0"),
            (1.2346e-7, "1.235 × 10⁻⁷"),
            (9.99999e9, "1.000 × 10¹⁰"),
            (f64::NAN, ABSENT),
            (f64::NEG_INFINITY, ABSENT),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value, 4), expected, "{value}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.000 kB"),
            (74_523_456, "74.52 MB"),
            (999_960_000, "1.000 GB"),
            (u64::MAX, "18.45 EB"),
        ];
        for (n, expected) in cases {
            assert_eq!(bytes(n), expected);
        }
        assert_eq!(count(134_515_008), "134,515,008");
        assert_eq!(count(0), "0");
    }

    #[test]
    fn times() {
        let cases = [
            (0.0, "0 s"),
            (0.42, "0.420 s"),
            (12.34, "12.3 s"),
            (59.97, "1 min 00 s"),
            (252.0, "4 min 12 s"),
            (7_500.0, "2 h 05 min"),
            (-1.0, ABSENT),
            (f64::INFINITY, ABSENT),
        ];
        for (value, expected) in cases {
            assert_eq!(seconds(value), expected);
        }
    }

    #[test]
    fn short_numbers() {
        let cases = [
            (4.0, "4"),
            (3.5, "3.5"),
            (0.001, "0.001"),
            (1e-5, "10⁻⁵"),
            (2e6, "2·10⁶"),
            (0.0, "0"),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn errors_set_the_digits() {
        assert_eq!(with_error(0.15214, Some(0.00123)), "0.1521 ± 0.0012");
        assert_eq!(with_error(0.0011, Some(1.3e-5)), "0.001100 ± 0.000013");
        assert_eq!(with_error(1.6419, Some(0.0197)), "1.642 ± 0.020");
        assert_eq!(with_error(0.5, Some(1e-12)), "0.5000 ± 1.0 × 10⁻¹²");
        assert_eq!(with_error(0.5, Some(f64::NAN)), "0.5000");
        assert_eq!(with_error(0.5, Some(0.0)), "0.5000");
        assert_eq!(with_error(f64::NAN, None), ABSENT);
    }

    #[test]
    fn changes() {
        assert_eq!(change(20.0, 25.0).as_deref(), Some("+25.0 %"));
        assert_eq!(change(20.0, 19.0).as_deref(), Some("−5.00 %"));
        assert_eq!(change(0.0, 19.0), None);
        assert_eq!(change(1.0, f64::NAN), None);
    }
}
