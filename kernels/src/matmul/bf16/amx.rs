//! AMX: TDPBF16PS, which multiplies two tiles of 1 KiB.
//!
//! Inline assembly, since the intrinsics are not stable. Linux only: the kernel has to be asked
//! before a process may use tile registers.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::product::{Microkernel, Operands, Row};
use super::tile::{GROUP, Tile};
use crate::simd::Simd;

/// The machine has AMX-BF16, and the process may use it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amx(());

impl Amx {
    /// The proof, where the processor has the instructions and the operating system permits them.
    ///
    /// Permission is asked for once. It is the process's: threads that exist already have it too.
    pub(super) fn detect() -> Option<Self> {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        AVAILABLE.get_or_init(|| supported() && permitted()).then_some(Self(()))
    }

    /// The proof without a check, to run the kernels under an emulator of the instructions.
    #[cfg(test)]
    pub(super) fn assumed() -> Self {
        Self(())
    }
}

/// Whether the processor has AMX-TILE and AMX-BF16, and the operating system saves tile registers.
fn supported() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const TILE_STATE: u64 = 0b11 << 17;
    // Miri has no CPUID.
    if cfg!(miri) || __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    features & AMX_BF16 != 0 && features & AMX_TILE != 0 && xcr0() & TILE_STATE == TILE_STATE
}

/// The state components that the operating system has enabled.
fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the one caller has seen OSXSAVE, with which XGETBV exists; it reads a register.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Asks Linux for the tile registers. Old kernels, sandboxes and small alternate signal stacks
/// refuse; without permission the first tile instruction would end the process.
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: the call takes two numbers and changes what the process may do, nothing in memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// The tile registers of this thread, configured: eight of sixteen lines of 64 bytes.
///
/// Held for one task. Between tasks the registers are released: other libraries may configure them
/// otherwise, and a context switch has 8 KiB less to save. Both ways take 0.1 microseconds.
#[derive(Debug)]
pub(super) struct Configured(PhantomData<*mut ()>);

/// The operand of LDTILECFG.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    line_bytes: [u16; 16],
    lines: [u8; 16],
}

impl Configured {
    fn new(_: Amx) -> Self {
        static FULL: Configuration = {
            let (mut line_bytes, mut lines) = ([0; 16], [0; 16]);
            let mut i = 0;
            while i < 8 {
                (line_bytes[i], lines[i]) = (64, 16);
                i += 1;
            }
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], line_bytes, lines }
        };
        // SAFETY: the argument proves that the instruction exists and is permitted. It reads the 64
        // bytes of a valid configuration.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const FULL, options(nostack, readonly)) };
        Self(PhantomData)
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the registers were configured on this thread: the type is not `Send`.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

impl Microkernel for Amx {
    type Ready = Configured;
    type Results = [Row; 2 * GROUP];
    const RESULTS: Self::Results = [Row::ZERO; 2 * GROUP];
    const GROUPS: usize = TILES;

    fn ready(self) -> Configured {
        Configured::new(self)
    }

    /// 2 x 2 tiles twice; up to sixteen rows 1 x 4, since these wait for memory.
    #[inline]
    fn multiply<S: Simd>(ready: &Configured, _: S, operands: &Operands<'_>, results: &mut [Row]) {
        // Missing groups repeat the last one; their results are never read.
        let b = |group: usize| operands.columns(group.min(operands.groups - 1));
        let (a, _) = operands.rows(0);
        if operands.rows <= GROUP {
            return one_by_four(ready, a, [b(0), b(1), b(2), b(3)], results);
        }
        let (second, _) = operands.rows(GROUP);
        for group in (0..operands.groups).step_by(2) {
            two_by_two(ready, [a, second], [b(group), b(group + 1)], results, group);
        }
    }
}

/// Groups of sixteen columns that are multiplied at once: one for each tile register of sums.
const TILES: usize = 4;

/// The bytes from a line of a packed tile to the next.
const LINE: usize = 64;

/// The bytes from a row of results to the next.
const ROW: usize = size_of::<Row>();

/// Two groups of rows by two of columns, the first of which is number `group` of the results.
#[inline]
fn two_by_two(_: &Configured, a: [&[Tile]; 2], b: [&[Tile]; 2], results: &mut [Row], group: usize) {
    let blocks = a[0].len();
    assert!(blocks > 0 && [a[1], b[0], b[1]].iter().all(|x| x.len() == blocks), "as many blocks");
    assert!(group + 2 <= TILES && results.len() == 2 * GROUP, "a part of the results");
    // One block of assembly from the first use of a tile register to the last: the compiler
    // promises nothing about them in between.
    //
    // SAFETY: the first argument proves that tiles are configured on this thread. Each operand has
    // `blocks` tiles of 1 KiB, read once each. Results have 32 rows, with columns for the group
    // and the next, by the second assertion.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a0}+{line}*1]",
            "tileloadd tmm6, [{b0}+{line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b1}+{line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1}+{line}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 1024",
            "add {a1}, 1024",
            "add {b0}, 1024",
            "add {b1}, 1024",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{c}+{row}*1], tmm0",
            "tilestored [{c}+{row}*1+64], tmm1",
            "tilestored [{d}+{row}*1], tmm2",
            "tilestored [{d}+{row}*1+64], tmm3",
            a0 = inout(reg) a[0].as_ptr() => _,
            a1 = inout(reg) a[1].as_ptr() => _,
            b0 = inout(reg) b[0].as_ptr() => _,
            b1 = inout(reg) b[1].as_ptr() => _,
            blocks = inout(reg) blocks => _,
            line = in(reg) LINE,
            c = in(reg) results.as_mut_ptr().byte_add(group * 64),
            d = in(reg) results.as_mut_ptr().byte_add(group * 64 + GROUP * ROW),
            row = in(reg) ROW,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// One group of rows by four of columns, whose tiles are prefetched four blocks ahead.
#[inline]
fn one_by_four(_: &Configured, a: &[Tile], b: [&[Tile]; TILES], results: &mut [Row]) {
    let blocks = a.len();
    assert!(blocks > 0 && b.iter().all(|x| x.len() == blocks), "as many blocks");
    assert!(results.len() >= GROUP, "sixteen rows of results");
    // SAFETY: as in `two_by_two`, with sixteen rows of all columns. A prefetch may have any
    // address.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "mov {ahead:e}, 4096",
            "3:",
            "prefetcht0 [{b0}+{ahead}]",
            "prefetcht0 [{b1}+{ahead}]",
            "prefetcht0 [{b2}+{ahead}]",
            "prefetcht0 [{b3}+{ahead}]",
            "add {ahead:e}, 64",
            "cmp {ahead:e}, 5120",
            "jne 3b",
            "tileloadd tmm4, [{a}+{line}*1]",
            "tileloadd tmm5, [{b0}+{line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{b1}+{line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm6",
            "tileloadd tmm7, [{b2}+{line}*1]",
            "tdpbf16ps tmm2, tmm4, tmm7",
            "tileloadd tmm5, [{b3}+{line}*1]",
            "tdpbf16ps tmm3, tmm4, tmm5",
            "add {a}, 1024",
            "add {b0}, 1024",
            "add {b1}, 1024",
            "add {b2}, 1024",
            "add {b3}, 1024",
            "dec {blocks}",
            "jnz 2b",
            "tilestored [{c}+{row}*1], tmm0",
            "tilestored [{c}+{row}*1+64], tmm1",
            "tilestored [{c}+{row}*1+128], tmm2",
            "tilestored [{c}+{row}*1+192], tmm3",
            a = inout(reg) a.as_ptr() => _,
            b0 = inout(reg) b[0].as_ptr() => _,
            b1 = inout(reg) b[1].as_ptr() => _,
            b2 = inout(reg) b[2].as_ptr() => _,
            b3 = inout(reg) b[3].as_ptr() => _,
            blocks = inout(reg) blocks => _,
            ahead = out(reg) _,
            line = in(reg) LINE,
            c = in(reg) results.as_mut_ptr(),
            row = in(reg) ROW,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
