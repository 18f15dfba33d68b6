// SPDX-License-Identifier: BSD-2-Clause
// What:   random hypercalls: any number, with arguments that are half plausible.
// Why:    whatever a guest passes to any hypercall must harm nobody but itself.
// How:    as an unprivileged guest, `seed=N calls=N` on its command line; the same seed makes the
// same calls. tests/e2e/hostile_guest.py looks after the neighbours. Calls that would end the run
// (shutdown, iret, another stack) are rare, not left out. Expect: any result, its own crash too.
#include "runtime.hpp"

using namespace guest;

namespace {

Word state;

Word random() { // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1d;
}
Word below(Word limit) {
    return random() % limit;
}
bool one_in(Word n) {
    return below(n) == 0;
}

/// What the calls may name and spoil; the kernel itself uses none of it.
constexpr unsigned nr_toys = 96;
Page toys[nr_toys];
/// Where arguments lie. Never a target on purpose.
Page arguments[4];
/// Machine addresses of the toys' entries and of the tables above the first, as they were at first:
/// a walk relies on the machine-to-physical table, which the calls spoil.
Word toy_entries[nr_toys];
Word tables[4];

constexpr Word numbers[] = {0,
                            1,
                            2,
                            3,
                            7,
                            8,
                            15,
                            16,
                            63,
                            64,
                            511,
                            512,
                            513,
                            4095,
                            4096,
                            0x7fff,
                            0x7fffffff,
                            0x80000000,
                            0xffffffff,
                            0x100000000,
                            ~Word{0},
                            ~Word{7},
                            Word{1} << 63,
                            CERO_HYPERVISOR_VIRT_START};
constexpr Word domains[] = {CERO_DOMID_SELF,
                            CERO_DOMID_IO,
                            CERO_DOMID_XEN,
                            CERO_DOMID_COW,
                            CERO_DOMID_INVALID,
                            CERO_DOMID_ANY,
                            CERO_DOMID_IDLE,
                            0,
                            1,
                            2,
                            3,
                            4};

template <typename T, std::size_t n>
T any_of(const T (&list)[n]) {
    return list[below(n)];
}

Word some_frame() {
    switch (below(6)) {
    case 0:
        return below(1 << 18); // somebody's, with 1 GiB
    case 1:
        return start_info->shared_info / page_size;
    case 2:
        if (one_in(100)) // a page table in use
            return tables[below(4)] / page_size;
        [[fallthrough]];
    default:
        return mfn_of(&toys[below(nr_toys)]);
    }
}

Word some_entry() {
    Word flags = pte_present | pte_accessed;
    if (one_in(2))
        flags |= pte_writable;
    if (one_in(2))
        flags |= pte_user;
    if (one_in(4))
        flags |= Word{1} << below(12);
    if (one_in(16))
        flags |= Word{1} << (52 + below(12));
    return one_in(8) ? 0 : some_frame() * page_size | flags;
}

Word some_address() {
    switch (below(8)) {
    case 0:
        return any_of({unmapped_address, hypervisor_address, noncanonical_address,
                       unmapped_address - 4, Word{CERO_HYPERVISOR_VIRT_END} - 4, Word{0}});
    case 1:
        return CERO_M2P_VIRT_START + below(1 << 20) * 8;
    case 2:
        return address(&toys[below(nr_toys)]) + page_size - 4;
    default:
        return address(&toys[below(nr_toys)]) + (one_in(3) ? below(512) * 8 : 0);
    }
}

Word some_port() {
    Word port = below(one_in(8) ? 4200 : 24);
    if (port == start_info->console.domU.evtchn || port == start_info->store_evtchn)
        port = one_in(500) ? port : 0; // without them nobody hears of the rest
    return port;
}

Word some_word() {
    switch (below(10)) {
    case 0:
        return any_of(numbers);
    case 1:
        return any_of(domains);
    case 2:
        return some_frame();
    case 3:
        return some_entry();
    case 4:
        return some_address();
    case 5:
        return some_port();
    case 6:
        // A page-table entry of a toy's, with what to do in the lowest bits.
        return toy_entries[below(nr_toys)] | below(one_in(8) ? 8 : 4);
    case 7:
        return random();
    case 8:
        return below(1 << 20) << 32 | below(1 << 16);
    default:
        return below(48);
    }
}

/// A buffer of words as they come, or of 32-bit and 16-bit halves; where in it the argument begins.
Word some_argument() {
    auto* words = arguments[below(3)].words;
    const Word count = 8 + below(48);
    for (Word i = 0; i < count; ++i) {
        Word word = some_word();
        if (one_in(3))
            word = (word & 0xffffffff) | (one_in(2) ? any_of(domains) : some_word()) << 32;
        if (one_in(6))
            word = below(64) | any_of(domains) << 16 | some_port() << 32;
        words[i] = word;
    }
    return one_in(12) ? some_address() : address(words);
}

Word some_command() {
    return one_in(40) ? any_of(numbers) : below(30);
}
Word some_count() {
    return one_in(20) ? any_of(numbers) : 1 + below(6);
}
Word some_domain() {
    return one_in(3) ? any_of(domains) : Word{CERO_DOMID_SELF};
}

/// Operations of mmuext_op: one that takes the kernel's own tables away is rare.
Word some_operations(Word count) {
    auto* list = reinterpret_cast<cero_mmuext_op*>(&arguments[2]);
    for (Word i = 0; i < count && i < sizeof(Page) / sizeof *list; ++i) {
        list[i].cmd = static_cast<std::uint32_t>(some_command());
        if (list[i].cmd == CERO_MMUEXT_NEW_BASEPTR && !one_in(1000))
            list[i].cmd = CERO_MMUEXT_NEW_USER_BASEPTR;
        list[i].arg1.mfn = one_in(4) ? some_word() : one_in(3) ? some_address() : some_frame();
        list[i].arg2.vcpumask = one_in(2) ? some_word() : some_address();
    }
    return address(list);
}

/// Entries of toys', mostly; any other address now and then.
Word some_updates(Word count) {
    auto* list = reinterpret_cast<cero_mmu_update*>(&arguments[2]);
    for (Word i = 0; i < count && i < sizeof(Page) / sizeof *list; ++i) {
        Word at = toy_entries[below(nr_toys)];
        if (one_in(4)) // inside a toy, which may be a page table by now
            at = mfn_of(&toys[below(nr_toys)]) * page_size + below(512) * 8;
        if (one_in(50))
            at = some_word();
        list[i].ptr = at | below(one_in(8) ? 8 : 4);
        list[i].val = one_in(10) ? some_word() : some_entry();
    }
    return address(list);
}

/// Whether a call would end the run, or stop it for good.
bool deadly(Word number, Word command) {
    switch (number) {
    case CERO_HYPERCALL_iret:
    case CERO_HYPERCALL_stack_switch:
    case CERO_HYPERCALL_set_callbacks:
    case CERO_HYPERCALL_set_trap_table:
    case CERO_HYPERCALL_set_gdt:
    case CERO_HYPERCALL_callback_op:
        return true;
    case CERO_HYPERCALL_sched_op:
    case CERO_HYPERCALL_sched_op_compat:
        return command == CERO_SCHEDOP_block || command == CERO_SCHEDOP_shutdown ||
               command == CERO_SCHEDOP_poll || command == CERO_SCHEDOP_watchdog ||
               command == CERO_SCHEDOP_remote_shutdown;
    case CERO_HYPERCALL_vcpu_op:
        return command == CERO_VCPUOP_down || command == CERO_VCPUOP_send_nmi ||
               command == CERO_VCPUOP_register_vcpu_info;
    case CERO_HYPERCALL_event_channel_op:
        return command == CERO_EVTCHNOP_reset;
    default:
        return false;
    }
}

constexpr unsigned favourites[] = {
    CERO_HYPERCALL_mmu_update,        CERO_HYPERCALL_mmu_update,
    CERO_HYPERCALL_mmuext_op,         CERO_HYPERCALL_mmuext_op,
    CERO_HYPERCALL_memory_op,         CERO_HYPERCALL_memory_op,
    CERO_HYPERCALL_event_channel_op,  CERO_HYPERCALL_grant_table_op,
    CERO_HYPERCALL_grant_table_op,    CERO_HYPERCALL_vcpu_op,
    CERO_HYPERCALL_multicall,         CERO_HYPERCALL_update_va_mapping,
    CERO_HYPERCALL_physdev_op,        CERO_HYPERCALL_sched_op,
    CERO_HYPERCALL_update_descriptor,
};

struct Call {
    Word number;
    Word words[5];
};

Call some_call(bool nested);

/// Calls for a multicall, in the page that is kept for them.
Word some_list(Word count) {
    auto* list = reinterpret_cast<cero_multicall_entry*>(&arguments[3]);
    for (Word i = 0; i < count && i < sizeof(Page) / sizeof *list; ++i) {
        const Call call = some_call(true);
        list[i].op = call.number;
        for (unsigned j = 0; j < 5; ++j)
            list[i].args[j] = call.words[j];
    }
    return address(list);
}

void fill(Call& call, bool nested) {
    Word* w = call.words;
    switch (call.number) {
    case CERO_HYPERCALL_mmu_update:
    case CERO_HYPERCALL_mmuext_op:
        w[1] = some_count(), w[2] = one_in(2) ? 0 : some_address(), w[3] = some_domain();
        if (one_in(100))
            w[0] = some_argument();
        else if (call.number == CERO_HYPERCALL_mmu_update)
            w[0] = some_updates(w[1]);
        else
            w[0] = some_operations(w[1]);
        return;
    case CERO_HYPERCALL_update_va_mapping:
    case CERO_HYPERCALL_update_va_mapping_otherdomain:
        w[0] = some_address(), w[1] = some_entry(), w[2] = below(8), w[3] = some_domain();
        return;
    case CERO_HYPERCALL_update_descriptor:
        w[0] = some_frame() * page_size + below(512) * 8, w[1] = some_word();
        return;
    case CERO_HYPERCALL_multicall:
        w[1] = nested
                   ? 1
                   : some_count(); // a page of zeros is a list of calls that take all handlers away
        w[0] = one_in(2000) ? some_address() : nested ? unmapped_address : some_list(w[1]);
        if (w[1] > sizeof(Page) / sizeof(cero_multicall_entry) && !one_in(100))
            w[1] = 1;
        return;
    case CERO_HYPERCALL_grant_table_op:
        w[0] = some_command(), w[1] = some_argument(), w[2] = some_count();
        return;
    case CERO_HYPERCALL_vcpu_op:
        w[0] = some_command(), w[1] = one_in(4) ? some_word() : below(2), w[2] = some_argument();
        return;
    case CERO_HYPERCALL_console_io:
        w[0] = below(3), w[1] = some_count(), w[2] = some_argument();
        return;
    default:
        w[0] = some_command(), w[1] = some_argument(), w[2] = some_word(), w[3] = some_word();
    }
    if (one_in(10))
        for (unsigned i = 0; i < 5; ++i)
            w[i] = one_in(2) ? some_word() : w[i];
}

Call some_call(bool nested) {
    for (;;) {
        Call call{one_in(4) ? below(64) : any_of(favourites), {}};
        if (one_in(200))
            call.number = random();
        for (Word& word : call.words)
            word = some_word();
        fill(call, nested);
        if (!deadly(call.number, call.words[0]) || one_in(4000))
            return call;
    }
}

Word option(const char* name, Word otherwise) {
    for (const char* at = start_info->cmd_line; *at != 0; ++at) {
        const char *a = at, *b = name;
        while (*b != 0 && *a == *b)
            ++a, ++b;
        if (*b != 0)
            continue;
        Word value = 0;
        for (; *a >= '0' && *a <= '9'; ++a)
            value = value * 10 + static_cast<Word>(*a - '0');
        return value;
    }
    return otherwise;
}

/// Takes back what would keep the next calls from being made.
void repair() {
    install_handlers();
    for (Page& page : arguments)
        update_va_mapping(address(&page), mfn_of(&page) * page_size | pte_rw, CERO_UVMF_INVLPG);
}

} // namespace

void guest::test_main() {
    if (is_first_domain()) {
        report(Verdict::error,
               "not as the first domain, which may do harm: see tests/e2e/hostile_guest.py");
        return;
    }
    const Word seed = option("seed=", 1), calls = option("calls=", 20000);
    state = seed * 0x9e3779b97f4a7c15 + 1;
    for (unsigned i = 0; i < nr_toys; ++i)
        toy_entries[i] = entry_maddr(address(&toys[i]));
    for (unsigned i = 0; i < 4; ++i)
        tables[i] = entry_maddr(address(&toys[0]), i + 1);
    Word good = 0, traps = 0;
    for (Word i = 0; i < calls; ++i) {
        if (i % (calls / 8 + 1) == 0)
            print("seed %lu: %lu calls, %lu succeeded, %lu traps", seed, i, good, traps);
        if (i % 16 == 0)
            repair();
        const Trap trap = guarded([&] {
            const Call call = some_call(false);
            const Word* w = call.words;
            const long result =
                hypercall(static_cast<unsigned>(call.number), w[0], w[1], w[2], w[3], w[4]);
            good += result >= 0;
        });
        if (!trap.happened())
            continue;
        if (++traps < 4)
            print("seed %lu: call %lu: trap %lu at 0x%lx, cr2 0x%lx", seed, i, trap.vector,
                  trap.rip, trap.cr2);
        repair();
    }
    print("seed %lu: all %lu calls, %lu succeeded, %lu traps", seed, calls, good, traps);
}
