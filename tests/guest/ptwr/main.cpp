// SPDX-License-Identifier: BSD-2-Clause
// What:   plain stores to a live level-1 table, which the hypervisor emulates as checked updates.
// Why:    Linux changes page-table entries in this way all the time, with six kinds of instruction.
// How:    each instruction form on an entry of a live table, then the effect on memory, and what
// must be refused. Expect: allowed stores act, flags included; refused ones fault with the old
// entry in place.
#include "runtime.hpp"

using namespace guest;

namespace {

Page target, other;
volatile Word* entry; // the entry of `target`, in the read-only mapping of its table

void flush() {
    mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, address(&target));
}
Word frame(const Page& page) {
    return mfn_of(&page) * page_size;
}
/// Without what the hardware and the hypervisor add.
Word bare(Word value) {
    return value & ~(pte_user | pte_accessed | pte_dirty | pte_global | 1ull << 52);
}

void plain_moves() {
    check_true("mov of 8 bytes", !guarded([] { *entry = frame(other) | pte_rw; }).happened());
    flush();
    check_equal("the frame is seen", static_cast<long>(target.words[0]), 0xb);
    check_true("mov of an immediate 0", !guarded([] {
                                             asm volatile("movq $0, %0" : "=m"(*entry));
                                         }).happened());
    flush();
    check_trap("the page is gone",
               guarded([] { (void)*const_cast<volatile Word*>(&target.words[0]); }), page_fault);
    check_true("mov from a register",
               !guarded([] {
                    asm volatile("mov %1, %0" : "=m"(*entry) : "r"(frame(target) | pte_rw));
                }).happened());
    flush();
    check_equal("the frame is seen", static_cast<long>(target.words[0]), 0xa);
}

void exchanges() {
    Word value = 0;
    check_true("xchg", !guarded([&] {
                            asm volatile("xchg %0, %1" : "+r"(value), "+m"(*entry));
                        }).happened());
    check_equal("xchg gives the old entry", static_cast<long>(bare(value)),
                static_cast<long>(frame(target) | pte_present | pte_writable));
    check_equal("the entry is the new one", static_cast<long>(*entry), 0);
    value = frame(target) | pte_rw;
    check_true("xchg back", !guarded([&] {
                                 asm volatile("xchg %0, %1" : "+r"(value), "+m"(*entry));
                             }).happened());
    check_equal("what xchg gives", static_cast<long>(value), 0);

    Word expected = *entry, wanted = frame(other) | pte_rw;
    bool equal = false;
    check_true("lock cmpxchg, equal", !guarded([&] {
                                           asm volatile("lock cmpxchg %3, %1; sete %2"
                                                        : "+a"(expected), "+m"(*entry), "=r"(equal)
                                                        : "r"(wanted)
                                                        : "cc");
                                       }).happened());
    check_true("ZF is set", equal);
    check_equal("the entry is the new one", static_cast<long>(bare(*entry)),
                static_cast<long>(bare(wanted)));
    expected = 0x999;
    check_true("lock cmpxchg, not equal", !guarded([&] {
                                               asm volatile("lock cmpxchg %3, %1; sete %2"
                                                            : "+a"(expected), "+m"(*entry),
                                                              "=r"(equal)
                                                            : "r"(Word{0})
                                                            : "cc");
                                           }).happened());
    check_true("ZF is clear", !equal);
    check_equal("rax has the entry", static_cast<long>(bare(expected)),
                static_cast<long>(bare(wanted)));
    check_equal("the entry is still the old one", static_cast<long>(bare(*entry)),
                static_cast<long>(bare(wanted)));
    *entry = frame(target) | pte_rw;
    flush();
}

void bit_operations() {
    check_true("lock andb $0xfd", !guarded([] {
                                       asm volatile("lock andb $0xfd, %0" : "+m"(*entry) : : "cc");
                                   }).happened());
    flush();
    check_trap("the page is read-only", guarded([] { target.words[1] = 1; }), page_fault, 3);
    check_true("lock orb $2", !guarded([] {
                                   asm volatile("lock orb $2, %0" : "+m"(*entry) : : "cc");
                               }).happened());
    flush();
    check_true("the page is writable", !guarded([] { target.words[1] = 1; }).happened());
    bool carry = false;
    *entry = frame(target) | pte_rw;
    check_true("lock btrq $5, set",
               !guarded([&] {
                    asm volatile("lock btrq $5, %0; setc %1" : "+m"(*entry), "=r"(carry) : : "cc");
                }).happened());
    check_true("CF has the old bit", carry);
    check_true("lock btrq $5, clear",
               !guarded([&] {
                    asm volatile("lock btrq $5, %0; setc %1" : "+m"(*entry), "=r"(carry) : : "cc");
                }).happened());
    check_true("CF has the old bit", !carry);
    bool zero = false;
    check_true(
        "lock andb gives ZF",
        !guarded([&] {
             asm volatile("lock andb $0xff, %0; setz %1" : "+m"(*entry), "=r"(zero) : : "cc");
         }).happened());
    check_true("ZF is clear for a result that is not 0", !zero);
}

void narrow_writes() {
    const Word value = frame(target) | pte_rw;
    check_true("movl, lower half",
               !guarded([&] {
                    asm volatile("movl %1, %0"
                                 : "=m"(*reinterpret_cast<volatile std::uint32_t*>(address(entry)))
                                 : "r"(static_cast<std::uint32_t>(value)));
                }).happened());
    check_true("movw, lowest 16 bits",
               !guarded([&] {
                    asm volatile("movw %1, %0"
                                 : "=m"(*reinterpret_cast<volatile std::uint16_t*>(address(entry)))
                                 : "r"(static_cast<std::uint16_t>(value)));
                }).happened());
    check_true("movb, lowest 8 bits",
               !guarded([&] {
                    asm volatile("movb %1, %0"
                                 : "=m"(*reinterpret_cast<volatile std::uint8_t*>(address(entry)))
                                 : "q"(static_cast<std::uint8_t>(value)));
                }).happened());
    check_equal("the entry is as written", static_cast<long>(bare(*entry)),
                static_cast<long>(bare(value)));
    flush();
    check_equal("the frame is seen", static_cast<long>(target.words[0]), 0xa);
}

void refused() {
    const Word before = bare(*entry);
    const Word table = *entry_of(address(&target), 2) & pte_frame_mask;
    check_trap("frame that does not exist", guarded([] { *entry = pte_frame_mask | pte_rw; }),
               page_fault, 3);
    check_trap("writable mapping of a page table", guarded([&] { *entry = table | pte_rw; }),
               page_fault, 3);
    check_trap("store to a level-2 table",
               guarded([] { *const_cast<volatile Word*>(entry_of(address(&target), 2)) = 0; }),
               page_fault, 3);
    check_trap("store to a level-4 table",
               guarded([] { *const_cast<volatile Word*>(entry_of(address(&target), 4)) = 0; }),
               page_fault, 3);
    check_trap("store across two entries",
               guarded([] { *reinterpret_cast<volatile Word*>(address(entry) + 4) = 0; }),
               page_fault, 3);
    check_equal("the entry is still the old one", static_cast<long>(bare(*entry)),
                static_cast<long>(before));
    check_trap(
        "user mode may not",
        run_user([](Word where) { *reinterpret_cast<volatile Word*>(where) = 0; }, address(entry)),
        page_fault, 7);
    check_equal("the entry is still the old one", static_cast<long>(bare(*entry)),
                static_cast<long>(before));
}

} // namespace

void guest::test_main() {
    target.words[0] = 0xa;
    other.words[0] = 0xb;
    vm_assist(CERO_VMASST_CMD_enable, CERO_VMASST_TYPE_writable_pagetables);
    entry = const_cast<volatile Word*>(entry_of(address(&target)));
    plain_moves();
    exchanges();
    bit_operations();
    narrow_writes();
    refused();
}
