//! Files in a directory that is held by descriptor.

use super::refusal::unsupported;
use crate::sys::FileFacts;
use std::fs::File;
use std::io;
use std::path::Path;

pub(crate) fn open_directory(_path: &Path) -> io::Result<File> {
    unsupported()
}

pub(crate) fn create_directory(_path: &Path) -> io::Result<()> {
    unsupported()
}

pub(crate) fn device_numbers(_device: u64) -> (u32, u32) {
    (0, 0)
}

pub(crate) fn facts_of(_path: &Path) -> io::Result<FileFacts> {
    unsupported()
}

pub(crate) fn facts_of_link(_path: &Path) -> io::Result<FileFacts> {
    unsupported()
}

pub(crate) fn file_facts(_file: &File) -> io::Result<FileFacts> {
    unsupported()
}

pub(crate) fn create_in(_directory: &File, _name: &str) -> io::Result<File> {
    unsupported()
}

pub(crate) fn open_in(_directory: &File, _name: &str) -> io::Result<File> {
    unsupported()
}

pub(crate) fn remove_in(_directory: &File, _name: &str) -> io::Result<()> {
    unsupported()
}

pub(crate) fn names_in(_directory: &File) -> io::Result<Vec<String>> {
    unsupported()
}

pub(crate) fn number_of(_file: &File) -> i32 {
    -1
}
