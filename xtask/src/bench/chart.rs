//! Results as a chart: an SVG of one bar for each row, on a logarithmic scale, in the colours of the groups.

use super::report::{Measured, Setting, mean};
use super::rows::Group;

const LINE: f64 = 18.0;
const LEFT: f64 = 150.0;
const WIDTH: f64 = 560.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 60.0;

/// Where bars begin and end on the scale of times.
const LOWEST: f64 = 0.125;
const HIGHEST: f64 = 64.0;

fn colour(group: Group) -> &'static str {
    match group {
        Group::Integer => "#4269d0",
        Group::Scalar => "#efb118",
        Group::Vector => "#ff725c",
        Group::Memory => "#6cc5b0",
        Group::Programs => "#3ca951",
        Group::System => "#a463f2",
        Group::Boot => "#9c6b4e",
        Group::Io => "#9498a0",
    }
}

/// Horizontal place of a ratio.
fn x(times: f64) -> f64 {
    let part = (times.clamp(LOWEST, HIGHEST) / LOWEST).ln() / (HIGHEST / LOWEST).ln();
    LEFT + WIDTH * part
}

pub fn svg(setting: &Setting, measured: &[Measured]) -> String {
    let mut bars = String::new();
    let mut y = TOP;
    let mut bar = |name: &str, times: f64, low: f64, high: f64, colour: &str, y: f64| {
        let (from, to) = (x(times.min(1.0)), x(times.max(1.0)));
        let middle = y + LINE / 2.0;
        bars += &format!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#000\"/>\n\
             <text x=\"{:.1}\" y=\"{:.0}\">{times:.2}</text>\n",
            LEFT - 8.0,
            y + 13.0,
            escape(name),
            y + 3.0,
            to - from,
            LINE - 6.0,
            x(low),
            x(high),
            x(high).max(to) + 5.0,
            y + 13.0,
        );
    };
    for group in Group::ALL {
        for one in measured.iter().filter(|one| one.row.group == *group) {
            if let Some(times) = one.times() {
                bar(one.row.name, times.median, times.low, times.high, colour(*group), y);
                y += LINE;
            }
        }
        if let Some(mean) = mean(measured, Some(*group)) {
            bar(&format!("mean of {}", group.name()), mean, mean, mean, "#555", y);
            y += 1.5 * LINE;
        }
    }
    if let Some(mean) = mean(measured, None) {
        bar("mean of all", mean, mean, mean, "#000", y);
        y += LINE;
    }
    let mut scale = String::new();
    let mut times = LOWEST;
    while times <= HIGHEST {
        let stroke = if times == 1.0 { "#000" } else { "#ddd" };
        scale += &format!(
            "<path d=\"M{x:.1} {TOP:.0}V{y:.0}\" stroke=\"{stroke}\"/>\n<text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{times}</text>\n",
            TOP - 6.0,
            x = x(times),
        );
        times *= 2.0;
    }
    let [first, second] = &setting.sides;
    let title =
        format!("{first}: how many times faster than {second}, system-{} -cpu {}", setting.machine, setting.cpu);
    let under = format!("{}; medians and spread of {} pairs, {}", setting.host, setting.runs, setting.date);
    let (width, height) = (LEFT + WIDTH + RIGHT, y + LINE);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"15\">{}</text>\n<text x=\"8\" y=\"34\" fill=\"#555\">{}</text>\n{scale}{bars}</svg>\n",
        escape(&title),
        escape(&under)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{measured, setting};
    use super::*;

    #[test]
    fn the_scale_is_logarithmic_and_ends() {
        assert_eq!(x(LOWEST), LEFT);
        assert_eq!(x(HIGHEST), LEFT + WIDTH);
        assert!((x(2.0) - x(1.0) - (x(4.0) - x(2.0))).abs() < 1e-9);
        assert_eq!((x(0.001), x(1000.0)), (x(LOWEST), x(HIGHEST)));
    }

    #[test]
    fn every_row_has_its_bar_and_failed_rows_have_none() {
        let mut failed = measured("nbody", &[1.0], &[2.0], &[]);
        failed.failures.push("wrong".to_owned());
        let setting = Setting { host: "a <host> & more".to_owned(), ..setting() };
        let text =
            svg(&setting, &[measured("fft", &[1.0], &[4.0], &[]), measured("calls", &[2.0], &[1.0], &[]), failed]);
        for name in
            [">fft<", ">calls<", ">4.00<", ">0.50<", "mean of scalar", "mean of all", "a &lt;host&gt; &amp; more"]
        {
            assert!(text.contains(name), "{name} is not in {text}");
        }
        assert!(!text.contains("nbody"));
        // Two rows, their groups' means and the mean of all, and the background.
        assert_eq!(text.matches("<rect").count(), 6);
    }
}
