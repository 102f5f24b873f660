//! Charts as SVG, to be embedded in a page.
//!
//! Charts use the colours of [`ink`], made for paper and light screens. The page's style sheet selects elements by
//! these colours (`[stroke="#005A9C"]`) to change them in dark mode, and to give each line a dash pattern, so that
//! lines can be told apart without colours. The canvas is twice as large as the displayed size, because coordinates are
//! whole numbers.
//!
//! | module | what it shows |
//! |---|---|
//! | [`axis`] | axes with their scales and marks |
//! | [`percentiles`] | latency over percentiles, the distance to 100 % on a logarithmic axis |
//! | [`timeline`] | throughput and latency over time, with events |
//! | [`load`] | latency over throughput: a sweep |
//! | [`rounds`] | repeated measurements of several servers |

pub mod axis;
pub mod load;
pub mod percentiles;
pub mod rounds;
pub mod timeline;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::series::LineSeries;
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle};
use plotters_svg::SVGBackend;

use self::axis::{Axis, Scale};
use super::ReportError;
use super::grid::escape;

/// Colours of charts; `style.css` repeats each of them.
pub mod ink {
    use plotters::style::RGBColor;

    /// Colour of text and axes.
    pub const TEXT: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
    /// Colour of the grid lines at the marks of an axis.
    pub const GRID: RGBColor = RGBColor(0xD5, 0xDA, 0xE0);
    /// Colour of the grid lines between the marks.
    pub const FAINT: RGBColor = RGBColor(0xEC, 0xEF, 0xF2);
    /// Colours of series, in their order.
    pub const SERIES: [RGBColor; 5] = [
        RGBColor(0x00, 0x5A, 0x9C),
        RGBColor(0xB8, 0x42, 0x0F),
        RGBColor(0x0B, 0x7A, 0x6B),
        RGBColor(0x7A, 0x3E, 0x9D),
        RGBColor(0x7A, 0x5C, 0x00),
    ];
    /// Colour of good or neutral events, such as the end of a checkpoint.
    pub const MARK: RGBColor = RGBColor(0x5B, 0x64, 0x70);
    /// Colour of bad events.
    pub const ALARM: RGBColor = RGBColor(0xC0, 0x1F, 0x2E);
    /// Background colour of a time without a server.
    pub const SHADE: RGBColor = RGBColor(0xF9, 0xDD, 0xDD);
}

/// Width of the canvas, in pixels.
const WIDTH: u32 = 1800;
/// Font size on the canvas, in pixels.
const LETTERS: u32 = 28;

/// Area of the canvas that a chart is drawn on.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A chart with two axes.
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;
/// Error of the chart library.
type Undrawn = DrawingAreaErrorKind<std::io::Error>;

impl From<Undrawn> for ReportError {
    fn from(error: Undrawn) -> Self {
        Self::Chart(error.to_string())
    }
}

/// Draws a chart of the given height, with a text description for screen readers.
fn draw(
    height: u32,
    description: &str,
    paint: impl FnOnce(&Area<'_>) -> Result<(), Undrawn>,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        paint(&area)?;
        area.present()?;
    }
    Ok(svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{}\" ", escape(description)), 1))
}

/// Draws axes with their marks. Returns the chart, to which series can be added.
fn plot<'a, 'b>(area: &'a Area<'b>, x: &Axis, y: &Axis) -> Result<Plot<'a, 'b>, Undrawn> {
    let mut plot = ChartBuilder::on(area)
        .margin_top(24)
        .margin_right(60)
        .x_label_area_size(90)
        .y_label_area_size(160)
        .build_cartesian_2d(x.scale(), y.scale())?;
    plot.configure_mesh()
        .x_label_formatter(&|value| (x.label)(*value))
        .y_label_formatter(&|value| (y.label)(*value))
        .x_desc(x.name)
        .y_desc(y.name)
        .label_style(letters(ink::TEXT))
        .axis_desc_style(letters(ink::TEXT))
        .axis_style(ink::TEXT.stroke_width(2))
        .bold_line_style(ink::GRID.stroke_width(2))
        .light_line_style(ink::FAINT.stroke_width(2))
        .draw()?;
    Ok(plot)
}

/// Draws a line through points.
fn line(
    plot: &mut Plot<'_, '_>,
    points: impl IntoIterator<Item = (f64, f64)>,
    colour: RGBColor,
) -> Result<(), Undrawn> {
    plot.draw_series(LineSeries::new(points, stroke(colour)))?;
    Ok(())
}

/// Line style of series.
fn stroke(colour: RGBColor) -> ShapeStyle {
    colour.stroke_width(4)
}

/// Text style.
fn letters(colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", LETTERS).into_font().color(&colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_described_and_nothing_in_it_is_taken_for_markup() {
        let seconds = Axis::seconds(10.0);
        let svg = draw(400, "a \"chart\"", |area| plot(area, &seconds, &seconds).map(drop)).unwrap();
        assert!(svg.starts_with("<svg role=\"img\" aria-label=\"a &quot;chart&quot;\" width=\"1800\""), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn the_style_sheet_knows_every_colour() {
        let style = include_str!("../html/style.css");
        let others = [ink::TEXT, ink::GRID, ink::FAINT, ink::MARK, ink::ALARM, ink::SHADE];
        for RGBColor(red, green, blue) in ink::SERIES.into_iter().chain(others) {
            let colour = format!("=\"#{red:02X}{green:02X}{blue:02X}\"]");
            assert!(style.contains(&colour), "{colour} is missing");
        }
    }
}
