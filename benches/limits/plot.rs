//! The plots of `BENCHMARKS.md`, as SVG.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Outcome;
use crate::report::LagSample;

const SIZE: (u32, u32) = (720, 320);
const LINE: RGBColor = RGBColor(31, 119, 180);
const FONT: (&str, u32) = ("sans-serif", 14);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// How far the drainer was behind, over the time that the writers ran.
pub(crate) fn lag(path: &Path, samples: &[LagSample]) -> Outcome<()> {
    let points: Vec<(f64, f64)> = samples.iter().map(|sample| (sample.at, sample.lag)).collect();
    let caption = "Lag beside writers that write all they can";
    line(path, caption, ("seconds", "lag in ms"), &points)
}

/// How many entries a second are drained, by the most that a batch may have.
pub(crate) fn batches(path: &Path, rates: &[(usize, f64)]) -> Outcome<()> {
    let points: Vec<(f64, f64)> =
        rates.iter().map(|(size, rate)| (*size as f64, rate / 1_000.0)).collect();
    let caption = "Draining by the most entries of a batch";
    line(path, caption, ("entries of a batch", "1,000 entries/s"), &points)
}

fn line(
    path: &Path,
    caption: &str,
    (across, up): (&str, &str),
    points: &[(f64, f64)],
) -> Outcome<()> {
    let area: Area<'_> = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, FONT)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(range(points, |point| point.0), range(points, |point| point.1))?;
    chart.configure_mesh().x_desc(across).y_desc(up).light_line_style(WHITE).draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), LINE.stroke_width(2)))?;
    Ok(area.present()?)
}

/// From zero to a little more than the most.
fn range(points: &[(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
    0.0..points.iter().map(of).fold(0.0, f64::max).max(1.0) * 1.05
}
