//! `mimic img`: does what [`crate::cli::img`] has read, and prints the answers as qemu-img does.

use crate::cli::img::Img;
use host::HostError;
use host::image::Use;
use host::image::check::{Repair, Report, check};
use host::image::convert::{convert, resize};
use host::image::create::create;
use host::image::info::{Info, chain, info};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// Exit status of `check` for an image with corruptions, with leaks alone, and of a format without anything to check.
const CORRUPT: u8 = 2;
const LEAKS: u8 = 3;
const NOTHING_TO_CHECK: u8 = 63;

/// Does what was asked for; the exit status.
///
/// # Errors
/// One line that names the image, the reason and the next step.
pub fn run(command: &Img) -> Result<u8, String> {
    let line = |error: HostError| error.to_string();
    match command {
        Img::Create { path, new, quiet } => {
            let size = create(path, new).map_err(line)?;
            if !quiet {
                let format = new.format.map_or("raw", |format| format.name());
                let backing = new.backing.as_ref().map(|backing| format!(" backing_file={}", backing.name));
                print(&format!("Made '{}', fmt={format} size={size}{}\n", path.display(), backing.unwrap_or_default()));
            }
            Ok(0)
        }
        Img::Info { path, format, json, chain: whole, force_share } => {
            let usage = if *force_share { Use::Peek } else { Use::Read };
            let all =
                if *whole { chain(path, *format, usage) } else { info(path, *format, usage).map(|one| vec![one]) };
            let all = all.map_err(line)?;
            match (json, whole) {
                (true, true) => print_json(&Value::Array(all.iter().map(as_json).collect())),
                (true, false) => print_json(&as_json(&all[0])),
                _ => print(&all.iter().map(as_text).collect::<Vec<_>>().join("\n")),
            }
            Ok(0)
        }
        Img::Convert { source, target, conversion, progress } => {
            let mut shown = None;
            let mut show = |part: f64| {
                let now = (part * 100.0) as u32;
                if *progress && shown != Some(now) {
                    shown = Some(now);
                    print(&format!("    ({:.2}/100%)\r", part * 100.0));
                }
            };
            let result = convert(source, target, conversion, &mut show).map_err(line);
            if *progress {
                print("\n");
            }
            result.map(|()| 0)
        }
        Img::Resize { path, format, change, shrink, preallocation, quiet } => {
            resize(path, *format, *change, *shrink, *preallocation).map_err(line)?;
            if !quiet {
                print("Image resized.\n");
            }
            Ok(0)
        }
        Img::Check { path, format, repair, json, quiet, force_share } => {
            let Some(report) = check(path, *format, *repair, *force_share).map_err(line)? else {
                let advice = "nothing has to be done";
                eprintln!("mimic: image `{}`: its format has nothing to check; {advice}", path.display());
                return Ok(NOTHING_TO_CHECK);
            };
            if *json {
                print_json(&report_json(path, &report));
            } else if !quiet {
                print(&report_text(path, *repair, &report));
            }
            Ok(match (report.corruptions, report.leaks) {
                (0, 0) => 0,
                (0, _) => LEAKS,
                _ => CORRUPT,
            })
        }
    }
}

/// A reader that went away is no error.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn print_json(value: &Value) {
    print(&format!("{value:#}\n"));
}

/// As qemu-img writes sizes: three digits and a binary unit.
fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", units[unit])
}

fn as_text(info: &Info) -> String {
    let mut text = format!(
        "image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n",
        info.filename,
        info.format.name(),
        human(info.virtual_size),
        info.virtual_size,
        human(info.actual_size)
    );
    if let Some(qcow2) = &info.qcow2 {
        let _ = writeln!(text, "cluster_size: {}", qcow2.cluster_size);
    }
    if let Some(backing) = &info.backing {
        let place =
            if backing.place == backing.name { String::new() } else { format!(" (actual path: {})", backing.place) };
        let _ = writeln!(text, "backing file: {}{place}", backing.name);
        if let Some(format) = &backing.format {
            let _ = writeln!(text, "backing file format: {format}");
        }
    }
    let Some(qcow2) = &info.qcow2 else { return text };
    if !qcow2.snapshots.is_empty() {
        text.push_str("Snapshot list:\n");
        let _ = writeln!(text, "{:<9} {:<16} {:>9} {:>12}", "ID", "TAG", "VM SIZE", "VM SECONDS");
        for snapshot in &qcow2.snapshots {
            let (size, seconds) = (human(snapshot.vm_state_bytes), snapshot.clock_ns / 1_000_000_000);
            let _ = writeln!(text, "{:<9} {:<16} {size:>9} {seconds:>12}", snapshot.id, snapshot.name);
        }
    }
    text.push_str("Format specific information:\n");
    let _ = writeln!(text, "    compat: {}", qcow2.compat);
    if qcow2.compat == "1.1" {
        let _ = writeln!(text, "    compression type: {}", qcow2.compression);
        let _ = writeln!(text, "    lazy refcounts: {}", qcow2.lazy_refcounts);
    }
    let _ = writeln!(text, "    refcount bits: {}", qcow2.refcount_bits);
    if qcow2.compat == "1.1" {
        let _ = writeln!(text, "    corrupt: {}\n    extended l2: {}", qcow2.corrupt, qcow2.extended_l2);
    }
    text
}

fn as_json(info: &Info) -> Value {
    let mut value = json!({
        "filename": info.filename,
        "format": info.format.name(),
        "virtual-size": info.virtual_size,
        "actual-size": info.actual_size,
        "dirty-flag": info.qcow2.as_ref().is_some_and(|qcow2| qcow2.dirty),
    });
    if let Some(backing) = &info.backing {
        value["backing-filename"] = json!(backing.name);
        value["full-backing-filename"] = json!(backing.place);
        if let Some(format) = &backing.format {
            value["backing-filename-format"] = json!(format);
        }
    }
    let Some(qcow2) = &info.qcow2 else { return value };
    value["cluster-size"] = json!(qcow2.cluster_size);
    let mut data =
        json!({ "compat": qcow2.compat, "compression-type": qcow2.compression, "refcount-bits": qcow2.refcount_bits });
    if qcow2.compat == "1.1" {
        data["lazy-refcounts"] = json!(qcow2.lazy_refcounts);
        data["corrupt"] = json!(qcow2.corrupt);
        data["extended-l2"] = json!(qcow2.extended_l2);
    }
    value["format-specific"] = json!({ "type": "qcow2", "data": data });
    if !qcow2.snapshots.is_empty() {
        let all = qcow2.snapshots.iter().map(|snapshot| {
            json!({
                "id": snapshot.id,
                "name": snapshot.name,
                "vm-state-size": snapshot.vm_state_bytes,
                "date-sec": snapshot.date.0,
                "date-nsec": snapshot.date.1,
                "vm-clock-sec": snapshot.clock_ns / 1_000_000_000,
                "vm-clock-nsec": snapshot.clock_ns % 1_000_000_000,
            })
        });
        value["snapshots"] = Value::Array(all.collect());
    }
    value
}

fn report_json(path: &Path, report: &Report) -> Value {
    let mut value = json!({
        "filename": path.display().to_string(),
        "format": "qcow2",
        "check-errors": 0,
        "image-end-offset": report.image_end,
        "total-clusters": report.total_clusters,
    });
    let counts = [
        ("corruptions", report.corruptions),
        ("leaks", report.leaks),
        ("corruptions-fixed", report.corruptions_fixed),
        ("leaks-fixed", report.leaks_fixed),
        ("allocated-clusters", report.allocated_clusters),
        ("fragmented-clusters", report.fragmented_clusters),
        ("compressed-clusters", report.compressed_clusters),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        value[name] = json!(count);
    }
    value
}

fn report_text(path: &Path, repair: Repair, report: &Report) -> String {
    let mut text: String = report.problems.iter().map(|line| format!("{line}\n")).collect();
    let fixed = report.leaks_fixed + report.corruptions_fixed;
    if fixed > 0 {
        let _ =
            writeln!(text, "Repaired: {} leaked clusters, {} errors.", report.leaks_fixed, report.corruptions_fixed);
    }
    if report.corruptions == 0 && report.leaks == 0 {
        text.push_str("No errors were found on the image.\n");
    }
    let next = |what: &str| match (repair, what) {
        (Repair::None, what) => format!("`mimic img check -r {what} {}` repairs what it can", path.display()),
        (_, "leaks") => "run the check again".into(),
        _ => "copy what can be read with `mimic img convert -O qcow2 FILE NEW`, or use a backup".into(),
    };
    if report.corruptions > 0 {
        let _ =
            writeln!(text, "{} errors: data may be lost by writing to the image; {}.", report.corruptions, next("all"));
    }
    if report.leaks > 0 {
        let _ = writeln!(text, "{} leaked clusters: lost space and no harm; {}.", report.leaks, next("leaks"));
    }
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    if report.allocated_clusters > 0 {
        let (held, whole) = (report.allocated_clusters, report.total_clusters);
        let _ = writeln!(
            text,
            "{held}/{whole} = {:.2}% allocated, {:.2}% fragmented, {:.2}% compressed clusters",
            share(held, whole),
            share(report.fragmented_clusters, held),
            share(report.compressed_clusters, held)
        );
    }
    let _ = writeln!(text, "Image end offset: {}", report.image_end);
    text
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_have_three_digits() {
        let rows = [
            (0, "0 B"),
            (512, "512 B"),
            (1 << 20, "1 MiB"),
            (196_616, "192 KiB"),
            (1_610_612_736, "1.5 GiB"),
            (1000, "0.98 KiB"),
        ];
        for (bytes, want) in rows {
            assert_eq!(human(bytes), want);
        }
    }
}
