//! The binary `stearin`.

#![expect(unsafe_code, reason = "the allocator's settings are a C function")]

use std::ffi::c_int;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the bindings leave out.
const PURGE_DELAY: c_int = 15;

fn main() -> ExitCode {
    // Every step frees gigabytes and asks for them again: given back to the system in between,
    // their pages are cleared each time, which took 5 of the 11 s of a step (docs/performance.md).
    // SAFETY: no other thread runs yet, and the option takes any number: negative is never.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    recipes::cli::main()
}
