//! Turns the instruction tables into Rust: operand structs (`*_formats.rs`), the decoder that calls the translator
//! (`*_decoder.rs`), the methods it calls (`*_methods.rs`) and the rows for tests (`*_rows.rs`).

use std::{env, error::Error, fs, path::Path};

const A64: &[&str] = &[
    "dp_imm.decode",
    "dp_reg.decode",
    "branch_system.decode",
    "load_store.decode",
    "simd_load_store.decode",
    "fp.decode",
    "simd_three_same.decode",
    "simd_three_different.decode",
    "simd_two_reg.decode",
    "simd_element.decode",
    "simd_shift.decode",
    "simd_copy.decode",
    "crypto.decode",
];

fn main() -> Result<(), Box<dyn Error>> {
    generate("a64", "src/a64", 32, A64)
}

fn generate(set: &str, folder: &str, width: u32, files: &[&str]) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={folder}");
    let table = match decodetree::Table::load(width, Path::new(folder), files) {
        Ok(table) => table,
        Err(errors) => {
            for error in errors.0 {
                println!("cargo::error={folder}/{error}");
            }
            return Ok(());
        }
    };
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    fs::write(out.join(format!("{set}_formats.rs")), table.formats())?;
    fs::write(out.join(format!("{set}_decoder.rs")), table.decoder())?;
    fs::write(out.join(format!("{set}_methods.rs")), table.methods())?;
    fs::write(out.join(format!("{set}_rows.rs")), table.rows())?;
    Ok(())
}
