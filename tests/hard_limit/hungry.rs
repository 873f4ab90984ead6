//! A program that needs much data before its first instruction, and ends with status 42.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes it as `hungry` into a directory. What it needs is never touched.
///
/// An ELF file (elf(5)) with two segments: its code, and data of which the file has nothing but the first bytes. Where this is not known
/// how to write, a shell script stands in, which needs as little as any program.
pub(crate) fn program(directory: &Path, needs: u64) -> PathBuf {
    let path = directory.join("hungry");
    let content = if cfg!(target_arch = "x86_64") { elf(needs) } else { b"#!/bin/sh\nexit 42\n".to_vec() };
    let mut file = std::fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o755).open(&path);
    match file {
        Ok(mut file) => std::io::Write::write_all(&mut file, &content).expect("there is room"),
        Err(cause) => panic!("{}: {cause}", path.display()),
    }
    path
}

fn elf(needs: u64) -> Vec<u8> {
    const CODE_AT: u64 = 0x40_0000;
    const DATA_AT: u64 = 0x1000_0000;
    const PAGE: u64 = 0x1000;
    // exit(42)
    let code = [0xb8, 60, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05];
    let headers = 64 + 2 * 56;
    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // 64 bits, little end first, this version; an executable for x86_64.
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    [2_u16, 62].iter().for_each(|number| put(&number.to_le_bytes()));
    put(&1_u32.to_le_bytes());
    [CODE_AT + headers, 64, 0].iter().for_each(|number| put(&number.to_le_bytes()));
    put(&0_u32.to_le_bytes());
    [64_u16, 56, 2, 0, 0, 0].iter().for_each(|number| put(&number.to_le_bytes()));
    // Readable with 4, writable with 2, executable with 1.
    for (flags, at, address, in_file, in_memory) in [(5_u32, 0, CODE_AT, PAGE, PAGE), (6, PAGE, DATA_AT, 8, needs)] {
        put(&1_u32.to_le_bytes());
        put(&flags.to_le_bytes());
        [at, address, address, in_file, in_memory, PAGE].iter().for_each(|number: &u64| put(&number.to_le_bytes()));
    }
    put(&code);
    file.resize(PAGE as usize + 8, 0);
    file
}
