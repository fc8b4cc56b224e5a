//! Pictures of the screen as tests: what the monitor's `screendump` stores is compared with a picture in `tests/golden-screens`.
//!
//! Screens show clocks, counters and speeds, so each picture says how much of it may differ. With `MIMIC_BLESS` in the
//! environment a picture is taken anew instead, when the machine has run for [`SETTLED`].

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::emulator::Watch;
use crate::places;

/// A picture that a machine's screen must come to show.
#[derive(Clone, Copy)]
pub struct Golden {
    /// Of the file, without `.png`.
    pub name: &'static str,
    /// The share of pixels that may differ, between 0 and 1.
    pub tolerance: f64,
}

/// How much a channel of a pixel may be off: emulators and monitors round 6-bit colours to 8 bits in different ways.
const ROUNDING: u8 = 8;
/// When the screen of every case shows what it is to show.
const SETTLED: Duration = Duration::from_secs(120);

impl Golden {
    fn path(self) -> PathBuf {
        places::repository().join("tests/golden-screens").join(self.name).with_extension("png")
    }

    /// Waits for this picture; the emulator stores its screen in `file`.
    pub fn watch(self, file: &Path) -> Watch {
        // Of an earlier run.
        fs::remove_file(file).ok();
        let start = Instant::now();
        let check = move |file: &Path| {
            // While it is being written it cannot be read.
            let found = read(file).map_err(|error| format!("{error:#}"))?;
            if std::env::var_os("MIMIC_BLESS").is_none() {
                return self.compare(&found);
            }
            if start.elapsed() < SETTLED {
                return Err("waiting for the picture to settle".to_owned());
            }
            write(&self.path(), &found).map_err(|error| format!("{error:#}"))
        };
        Watch { file: file.to_owned(), check: Box::new(check) }
    }

    fn compare(self, found: &Picture) -> Result<(), String> {
        let expected = read(&self.path()).map_err(|error| format!("{error:#}"))?;
        let Some(share) = difference(&expected, found) else {
            let (wide, high) = (found.width, found.pixels.len() / found.width.max(1));
            let (width, height) = (expected.width, expected.pixels.len() / expected.width.max(1));
            return Err(format!("the screen is {wide} x {high}, {} {width} x {height}", self.path().display()));
        };
        if share <= self.tolerance {
            return Ok(());
        }
        Err(format!(
            "{:.2} % of the screen differ from {}, of {:.2} % that may",
            100.0 * share,
            self.path().display(),
            100.0 * self.tolerance
        ))
    }
}

/// Pixels in rows from the top, as red, green, blue.
#[derive(Debug, PartialEq)]
struct Picture {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

/// Share of the pixels that differ; `None` when the sizes do.
fn difference(a: &Picture, b: &Picture) -> Option<f64> {
    if a.width != b.width || a.pixels.len() != b.pixels.len() || a.pixels.is_empty() {
        return None;
    }
    let differ = |(a, b): &(&[u8; 3], &[u8; 3])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > ROUNDING);
    let count = a.pixels.iter().zip(&b.pixels).filter(differ).count();
    Some(count as f64 / a.pixels.len() as f64)
}

/// A PNG file, or the PPM file that QEMU writes whatever the file is called.
fn read(file: &Path) -> Result<Picture> {
    let bytes = fs::read(file).with_context(|| format!("cannot read the screen in {}", file.display()))?;
    let picture = if bytes.starts_with(b"P6") { ppm(&bytes) } else { png(&bytes) };
    picture.with_context(|| format!("{} is no picture", file.display()))
}

fn png(bytes: &[u8]) -> Result<Picture> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    // Palettes and shades become colours; no pixel needs more than 8 bits.
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let mut buffer = vec![0; reader.output_buffer_size().context("too large")?];
    let info = reader.next_frame(&mut buffer)?;
    let pixels = buffer[..info.buffer_size()].chunks_exact(info.color_type.samples());
    let pixels = pixels.map(|samples| match *samples {
        [red, green, blue] | [red, green, blue, _] => [red, green, blue],
        _ => [samples[0]; 3],
    });
    Ok(Picture { width: info.width as usize, pixels: pixels.collect() })
}

/// `P6 WIDTH HEIGHT 255`, one byte of white space, pixels.
fn ppm(bytes: &[u8]) -> Result<Picture> {
    let mut rest = bytes;
    let mut word = || {
        let end = rest.iter().position(u8::is_ascii_whitespace).context("the header ends early")?;
        let word = std::str::from_utf8(&rest[..end])?;
        rest = &rest[end + 1..];
        Ok::<&str, anyhow::Error>(word)
    };
    let (_, width, height, most) = (word()?, word()?.parse::<usize>()?, word()?.parse::<usize>()?, word()?);
    if most != "255" || rest.len() != 3 * width * height {
        bail!("{} bytes for {width} x {height} pixels up to {most}", rest.len());
    }
    Ok(Picture { width, pixels: rest.as_chunks().0.to_vec() })
}

/// Writes a PNG file of few bytes: with a palette if there are few colours.
fn write(file: &Path, picture: &Picture) -> Result<()> {
    fs::create_dir_all(file.parent().context("no directory")?)?;
    let output = BufWriter::new(File::create(file).with_context(|| format!("cannot write {}", file.display()))?);
    let height = picture.pixels.len() / picture.width;
    let mut encoder = png::Encoder::new(output, u32::try_from(picture.width)?, u32::try_from(height)?);
    encoder.set_compression(png::Compression::High);
    let mut colours = picture.pixels.clone();
    colours.sort();
    colours.dedup();
    let data: Vec<u8> = if colours.len() > 256 {
        encoder.set_color(png::ColorType::Rgb);
        picture.pixels.concat()
    } else {
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(colours.concat());
        picture.pixels.iter().map(|pixel| colours.binary_search(pixel).unwrap_or_default() as u8).collect()
    };
    encoder.write_header()?.write_image_data(&data)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(pixels: &[[u8; 3]]) -> Picture {
        Picture { width: 2, pixels: pixels.to_vec() }
    }

    #[test]
    fn a_written_picture_is_read_again() {
        let file = std::env::temp_dir().join(format!("mimic-picture-{}.png", std::process::id()));
        let few = picture(&[[0, 0, 0], [170, 170, 170], [170, 0, 0], [1, 2, 3]]);
        let many = Picture { width: 2, pixels: (0..1000u16).map(|n| [n as u8, (n >> 8) as u8, 7]).collect() };
        for picture in [few, many] {
            write(&file, &picture).unwrap();
            assert_eq!(read(&file).unwrap(), picture);
        }
        fs::write(&file, b"P6\n2 1\n255\nabcdef").unwrap();
        assert_eq!(read(&file).unwrap(), picture(&[*b"abc", *b"def"]));
        for wrong in [&b"P6\n2 1\n255\nabcde"[..], b"P6\n2", b"", b"\x89PNG\r\n\x1a\n"] {
            fs::write(&file, wrong).unwrap();
            let error = format!("{:#}", read(&file).unwrap_err());
            assert!(error.contains("is no picture"), "{error}");
        }
        fs::remove_file(&file).unwrap();
        let error = format!("{:#}", read(&file).unwrap_err());
        assert!(error.contains("cannot read the screen"), "{error}");
    }

    #[test]
    fn what_differs_is_counted_and_rounding_is_not() {
        let black = picture(&[[0; 3]; 4]);
        let check = |other: &Picture, expect| assert_eq!(difference(&black, other), expect, "{other:?}");
        check(&black, Some(0.0));
        check(&picture(&[[ROUNDING; 3], [0; 3], [0, 0, ROUNDING + 1], [255; 3]]), Some(0.5));
        check(&picture(&[[0; 3]; 2]), None);
        check(&Picture { width: 4, ..picture(&[[0; 3]; 4]) }, None);
    }

    #[test]
    fn every_case_has_its_picture_and_every_picture_its_case() {
        let dir = places::repository().join("tests/golden-screens");
        let mut pictures: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".png").map(str::to_owned))
            .collect();
        pictures.sort();
        let mut named: Vec<&str> =
            super::super::cases::all().iter().filter_map(|case| case.screen).map(|one| one.name).collect();
        named.sort();
        named.dedup();
        assert_eq!(pictures, named);
    }
}
