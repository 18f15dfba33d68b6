// SPDX-License-Identifier: BSD-2-Clause
// What:   the iret hypercall: kernel to kernel, kernel to user, flags, the event mask, bad frames.
// Why:    it is how every exception ends; a bad frame must never fault inside the hypervisor.
// How:    builds frames by hand, good ones and bad ones.
// Expect: registers and flags as in the frame; a bad return ends in the failsafe callback or #GP.
#include "runtime.hpp"

using namespace guest;

extern "C" long iret_probe(Word cs, Word rflags, Word ss, Word rip_or_0);
extern "C" Word iret_after[6];
extern "C" {
Word iret_after[6];
}

// Returns to its own end by the iret hypercall with the given selectors and flags; notes rax, rcx,
// r11, rflags, cs.
asm(R"(
        .text
        .global iret_probe
iret_probe:
        push %rbx
        mov %rsp, %rbx
        push %rdx
        push %rbx
        push %rsi
        push %rdi
        test %rcx, %rcx
        jnz 1f
        lea 2f(%rip), %rcx
1:      push %rcx
        pushq $0
        pushq $0x222
        pushq $0x333
        pushq $0x111
        mov $23, %eax
        syscall
        ud2
2:      mov %rax, iret_after(%rip)
        mov %rcx, iret_after+8(%rip)
        mov %r11, iret_after+16(%rip)
        pushfq
        popq iret_after+24(%rip)
        mov %cs, %eax
        mov %rax, iret_after+32(%rip)
        cld
        mov %rbx, %rsp
        pop %rbx
        xor %eax, %eax
        ret
)");

namespace {

constexpr Word carry = 1, direction = 0x400, interrupts = 0x200, nested_task = 0x4000,
               iopl = 0x3000;

} // namespace

void guest::test_main() {
    iret_probe(CERO_FRAME_KERNEL_CS, 2 | carry | interrupts, CERO_FLAT_RING3_SS, 0);
    check_equal("rax", static_cast<long>(iret_after[0]), 0x111);
    check_equal("rcx", static_cast<long>(iret_after[1]), 0x222);
    check_equal("r11", static_cast<long>(iret_after[2]), 0x333);
    check_equal("carry", static_cast<long>(iret_after[3] & carry), static_cast<long>(carry));
    check_equal("cs", static_cast<long>(iret_after[4]), CERO_FLAT_RING3_CS64);
    check_equal("IF in the frame lifts the mask", vcpu_info().evtchn_upcall_mask, 0);
    iret_probe(CERO_FRAME_KERNEL_CS, 2 | direction, CERO_FLAT_RING3_SS, 0);
    check_equal("no IF in the frame sets the mask", vcpu_info().evtchn_upcall_mask, 1);
    check_equal("the real IF stays set", static_cast<long>(iret_after[3] & interrupts),
                static_cast<long>(interrupts));
    check_equal("direction", static_cast<long>(iret_after[3] & direction),
                static_cast<long>(direction));
    iret_probe(CERO_FRAME_KERNEL_CS, 2 | iopl, CERO_FLAT_RING3_SS, 0);
    check_equal("IOPL is not taken from the frame", static_cast<long>(iret_after[3] & iopl), 0);
    iret_probe(CERO_FRAME_KERNEL_CS, 2, CERO_FLAT_RING3_SS & ~3, 0);
    check_equal("ss of level 0 is raised", static_cast<long>(iret_after[0]), 0x111);

    // An event that is pending while it was masked is delivered by the iret that lifts the mask.
    cero_evtchn_bind_ipi bind{0, 0};
    event_channel_op(CERO_EVTCHNOP_bind_ipi, &bind);
    unmask_port(bind.port);
    disable_events();
    cero_evtchn_send send{bind.port};
    event_channel_op(CERO_EVTCHNOP_send, &send);
    check_equal("not delivered yet", static_cast<long>(event_count[bind.port]), 0);
    iret_probe(CERO_FRAME_KERNEL_CS, 2 | interrupts, CERO_FLAT_RING3_SS, 0);
    check_equal("delivered by the return", static_cast<long>(event_count[bind.port]), 1);
    disable_events();

    check_true("non-canonical rip", guarded([] {
                                        iret_probe(CERO_FRAME_KERNEL_CS, 2, CERO_FLAT_RING3_SS,
                                                   noncanonical_address);
                                    }).happened());
    check_true("code selector that does not exist",
               guarded([] { iret_probe(0x1230, 2, CERO_FLAT_RING3_SS, 0); }).happened());
    check_true(
        "data selector as code",
        guarded([] { iret_probe(CERO_FLAT_RING3_DS & ~3, 2, CERO_FLAT_RING3_SS, 0); }).happened());
    check_true("the hypervisor's code selector",
               guarded([] { iret_probe(0xe008, 2, CERO_FLAT_RING3_SS, 0); }).happened());
    check_true("stack selector that does not exist",
               guarded([] { iret_probe(CERO_FRAME_KERNEL_CS, 2, 0x1230, 0); }).happened());
    iret_probe(CERO_FRAME_KERNEL_CS, 2 | nested_task, CERO_FLAT_RING3_SS, 0);
    check_equal("the machine still works", static_cast<long>(iret_after[0]), 0x111);
}
