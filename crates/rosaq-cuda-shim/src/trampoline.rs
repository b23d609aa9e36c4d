//! Functions of any type that jump to an address found at their first call.

use std::arch::naked_asm;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

use crate::driver::address_of;
use crate::names::{ADDRESSES, NAMES};

/// Defines an array of addresses and, for every number and name, a function of that name.
///
/// A function leaves every argument where it is, in registers and on the stack, and jumps to its address; while that is
/// zero, to [`find_and_jump`] with its number in `eax`, which holds no argument.
macro_rules! trampolines {
    ($count:literal; $($index:literal $name:ident,)*) => {
        /// Names by number.
        pub(crate) static NAMES: [&str; $count] = [$(stringify!($name)),*];
        /// Addresses by number, null until they are asked for.
        pub(crate) static ADDRESSES: [std::sync::atomic::AtomicPtr<std::ffi::c_void>; $count] =
            [const { std::sync::atomic::AtomicPtr::new(std::ptr::null_mut()) }; $count];
        $(
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            #[allow(non_snake_case, reason = "the driver's own name")]
            extern "C" fn $name() {
                std::arch::naked_asm!(
                    "mov r11, qword ptr [rip + {addresses} + {offset}]",
                    "test r11, r11",
                    "jz 2f",
                    "jmp r11",
                    "2:",
                    "mov eax, {index}",
                    "jmp {find}",
                    addresses = sym ADDRESSES,
                    offset = const $index * 8,
                    index = const $index,
                    find = sym $crate::trampoline::find_and_jump,
                )
            }
        )*
    };
}
pub(crate) use trampolines;

/// Saves what may hold arguments, has the address looked up, and jumps there.
///
/// On entry the stack is 8 bytes off a multiple of 16; six registers and 136 bytes later it is aligned for a call.
#[unsafe(naked)]
pub(crate) extern "C" fn find_and_jump() {
    naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 136",
        "movups [rsp], xmm0",
        "movups [rsp + 16], xmm1",
        "movups [rsp + 32], xmm2",
        "movups [rsp + 48], xmm3",
        "movups [rsp + 64], xmm4",
        "movups [rsp + 80], xmm5",
        "movups [rsp + 96], xmm6",
        "movups [rsp + 112], xmm7",
        "mov edi, eax",
        "call {find}",
        "movups xmm0, [rsp]",
        "movups xmm1, [rsp + 16]",
        "movups xmm2, [rsp + 32]",
        "movups xmm3, [rsp + 48]",
        "movups xmm4, [rsp + 64]",
        "movups xmm5, [rsp + 80]",
        "movups xmm6, [rsp + 96]",
        "movups xmm7, [rsp + 112]",
        "add rsp, 136",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        find = sym find,
    )
}

/// The address of function `index`, from now on also in the table.
extern "C" fn find(index: u32) -> *const c_void {
    let index = index as usize;
    let address = address_of(NAMES[index]);
    ADDRESSES[index].store(address.cast_mut(), Ordering::Release);
    address
}
