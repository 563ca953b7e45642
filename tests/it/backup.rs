//! Backups: the file, and the two commands with a gateway and without one.

mod commands;
mod file;
