//! Two plots as inline SVG: questions per day before and after, and differences per day by kind.
//!
//! Never takes text from a record: only dates, counts and words of its own. Colours are the page's style classes, so
//! that one drawing serves light and dark.

use std::fmt::Write as _;

use super::change::Kind;
use super::report::{DayRow, grouped};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// Where values and days lie on the paper.
struct Frame {
    height: f64,
    low: f64,
    high: f64,
    step: f64,
    days: usize,
}

impl Frame {
    fn new(height: f64, low: u64, high: u64, days: usize) -> Self {
        let step = nice((low + high).max(1) as f64 / 4.0);
        let up = |value: u64| (value as f64 / step).ceil() * step;
        let high = up(high).max(if low == 0 { step } else { 0.0 });
        Self { height, low: up(low), high, step, days: days.max(1) }
    }

    fn y(&self, value: f64) -> f64 {
        let span = (self.high + self.low).max(f64::EPSILON);
        TOP + (self.high - value) / span * (self.height - TOP - BOTTOM)
    }

    fn slot(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.days as f64
    }

    fn x(&self, day: usize) -> f64 {
        LEFT + day as f64 * self.slot()
    }

    fn bar(&self) -> (f64, f64) {
        let gap = (self.slot() * 0.22).min(6.0);
        (gap / 2.0, (self.slot() - gap).max(0.5))
    }

    fn open(&self, title: &str) -> String {
        format!(r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-label="{title}">"#, self.height)
    }

    fn axes(&self, rows: &[DayRow]) -> String {
        let mut out = String::new();
        let ticks =
            |limit: f64| (0..=(limit / self.step).round() as i64).map(|n| n as f64 * self.step);
        let all = ticks(self.high).chain(ticks(self.low).skip(1).map(|value| -value));
        for value in all {
            let (y, class) = (self.y(value), if value == 0.0 { "zero" } else { "grid" });
            let number = grouped(value.abs().round() as u64);
            let _ = write!(
                out,
                r#"<line class="{class}" x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="{}" y="{:.1}" text-anchor="end">{number}</text>"#,
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0
            );
        }
        let every = self.days.div_ceil(10).max(1);
        for (at, row) in rows.iter().enumerate().step_by(every) {
            let x = self.x(at) + self.slot() / 2.0;
            let _ = write!(
                out,
                r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                self.height - 6.0,
                short(&row.day)
            );
        }
        out
    }

    fn rect(&self, at: usize, from: f64, to: f64, class: &str) -> String {
        let (gap, width) = self.bar();
        let (top, bottom) = (self.y(from.max(to)), self.y(from.min(to)));
        format!(
            r#"<rect class="{class}" x="{:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}"/>"#,
            self.x(at) + gap,
            bottom - top
        )
    }
}

/// Bars for what would be, a mark for what was.
pub fn prompts(rows: &[DayRow]) -> String {
    let high = rows.iter().map(|row| row.prompts_before.max(row.prompts_after)).max().unwrap_or(0);
    let frame = Frame::new(220.0, 0, high, rows.len());
    let mut out = frame.open("Questions per day, before and after");
    out += &frame.axes(rows);
    for (at, row) in rows.iter().enumerate() {
        let (before, after) = (row.prompts_before, row.prompts_after);
        let (gap, width) = frame.bar();
        let y = frame.y(before as f64);
        let _ = write!(
            out,
            r#"<g><title>{}: {} before, {} after</title>{}<line class="was" x1="{:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/></g>"#,
            row.day,
            grouped(before),
            grouped(after),
            frame.rect(at, 0.0, after as f64, "after"),
            frame.x(at) + gap - 1.0,
            frame.x(at) + gap + width + 1.0
        );
    }
    out + "</svg>"
}

/// Upwards what customers would meet more, downwards what they would meet less.
pub fn changes(rows: &[DayRow]) -> String {
    let sum = |row: &DayRow, stricter: bool| -> u64 {
        kinds(row).filter(|(kind, _)| kind.is_stricter() == stricter).map(|(_, count)| count).sum()
    };
    let most = |stricter| rows.iter().map(|row| sum(row, stricter)).max().unwrap_or(0);
    let frame = Frame::new(220.0, most(false), most(true), rows.len());
    let mut out = frame.open("Differences per day");
    out += &frame.axes(rows);
    for (at, row) in rows.iter().enumerate() {
        let told: Vec<String> = kinds(row)
            .map(|(kind, count)| format!("{} {}", grouped(count), kind.label()))
            .collect();
        if told.is_empty() {
            continue;
        }
        let _ = write!(out, "<g><title>{}: {}</title>", row.day, told.join(", "));
        let (mut up, mut down) = (0.0, 0.0);
        for (kind, count) in kinds(row) {
            let end = if kind.is_stricter() { &mut up } else { &mut down };
            let to = *end + if kind.is_stricter() { count as f64 } else { -(count as f64) };
            out += &frame.rect(at, *end, to, kind.word());
            *end = to;
        }
        out += "</g>";
    }
    out + "</svg>"
}

fn kinds(row: &DayRow) -> impl Iterator<Item = (Kind, u64)> {
    Kind::ALL.into_iter().filter_map(|kind| Some((kind, *row.kinds.get(kind.word())?)))
}

/// 1, 2 or 5 times a power of ten, at least 1.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1.0).log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= step);
    (times.unwrap_or(10.0) * power).max(1.0)
}

/// `11-20`.
fn short(day: &str) -> &str {
    day.get(5..).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(kinds: &[(&'static str, u64)]) -> DayRow {
        DayRow {
            day: "2026-11-20".into(),
            requests: 10,
            prompts_before: 3,
            prompts_after: 5,
            changed: 0,
            kinds: kinds.iter().copied().collect(),
        }
    }

    #[test]
    fn steps_of_an_axis_are_round() {
        for (step, round) in [(0.0, 1.0), (1.2, 2.0), (3.0, 5.0), (7.0, 10.0), (120.0, 200.0)] {
            assert_eq!(nice(step), round);
        }
    }

    #[test]
    fn a_plot_of_nothing_and_of_one_day_is_whole() {
        for rows in
            [vec![], vec![day(&[])], vec![day(&[("newly_held", 2), ("no_longer_asked", 1)])]]
        {
            for svg in [prompts(&rows), changes(&rows)] {
                assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
        let svg = changes(&[day(&[("newly_held", 2), ("no_longer_asked", 1)])]);
        assert!(
            svg.contains("2 newly held, 1 no longer asked") && svg.contains("class=\"newly_held\"")
        );
    }
}
