//! Chart of repeated measurements of several servers: every value, and the median.

use plotters::element::Circle;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::{ReportError, WIDTH, draw, ink, letters};

/// Height of one server's lane, in pixels.
const LANE: u32 = 64;
/// Height of the axis, in pixels.
const SCALE: u32 = 64;
/// Left end of the value range, and its distance from the right edge, in pixels.
const LEFT: u32 = 360;
const RIGHT: u32 = 60;

/// Measurements of one server.
pub struct Lane<'a> {
    /// Name of the server.
    pub name: &'a str,
    /// Values in the order of the rounds.
    pub values: &'a [f64],
    /// Median of the values.
    pub median: f64,
}

/// Draws a lane per server on a common scale from zero; `shown` formats the labels.
///
/// # Errors
/// If the chart cannot be drawn.
pub fn rounds(what: &str, lanes: &[Lane<'_>], shown: fn(f64) -> String) -> Result<String, ReportError> {
    let greatest = lanes.iter().flat_map(|lane| lane.values).copied().fold(0.0, f64::max);
    let axis = Axis::from_zero(greatest);
    let bottom = (lanes.len() as u32 * LANE) as i32;
    let x = |value: f64| LEFT as i32 + (axis.place(value) / axis.to * f64::from(WIDTH - LEFT - RIGHT)).round() as i32;
    draw(bottom as u32 + SCALE, what, |area| {
        use plotters::element::{PathElement, Text};
        for mark in &axis.marks {
            area.draw(&PathElement::new([(x(*mark), 0), (x(*mark), bottom + 8)], ink::GRID.stroke_width(2)))?;
            let style = letters(ink::TEXT).pos(Pos::new(HPos::Center, VPos::Top));
            area.draw(&Text::new(shown(*mark), (x(*mark), bottom + 16), style))?;
        }
        for ((lane, colour), number) in lanes.iter().zip(ink::SERIES).zip(0..) {
            let y = number * LANE as i32 + LANE as i32 / 2;
            let style = letters(ink::TEXT).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(lane.name.to_owned(), (LEFT as i32 - 30, y), style))?;
            area.draw(&PathElement::new([(x(0.0), y), (x(lane.median), y)], colour.stroke_width(12)))?;
            for value in lane.values {
                area.draw(&Circle::new((x(*value), y), 11, colour.stroke_width(3)))?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_seen() {
        let lanes = [
            Lane { name: "rollbook", values: &[9.0, 9.5, 9.2], median: 9.2 },
            Lane { name: "redis-server <7>", values: &[10.0, 11.0], median: 10.5 },
        ];
        let svg = rounds("CPU per request", &lanes, crate::bench::report::units::micros).unwrap();
        assert_eq!(svg.matches("<circle").count(), 5);
        assert!(svg.contains("redis-server &lt;7&gt;"));
    }
}
