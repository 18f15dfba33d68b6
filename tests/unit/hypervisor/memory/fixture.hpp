// SPDX-License-Identifier: BSD-2-Clause
// Domains and vCPUs for tests of the memory code: created on the host, with the real frame table
// behind.
#pragma once

#include <arch/api/cpu.hpp>
#include <core/domain/domain.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/frame/frame_table.hpp>
#include <core/grant/grant_table.hpp>
#include <core/memory/memory_op.hpp>
#include <core/paging/descriptors.hpp>
#include <core/paging/mmu_ops.hpp>
#include <core/paging/page_type.hpp>
#include <core/paging/pte_rules.hpp>

#include <cero/abi/memory.h>
#include <cero/abi/mmu.h>

#include "../../../support/host_memory/machine.hpp"

#include <array>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <vector>

namespace cero::test {

/// The domains of a test, in the place of hv-core's table.
struct DomainTable {
    static inline std::map<std::uint16_t, Domain*> by_slot;
    static inline std::vector<std::uint16_t> freed; ///< ids whose last reference went
};

struct Guest {
    std::unique_ptr<Domain> domain = std::make_unique<Domain>();
    std::unique_ptr<Vcpu> vcpu = std::make_unique<Vcpu>();
    operator Domain&() const { return *domain; } // NOLINT(google-explicit-constructor)
};

inline constexpr std::uint64_t rw =
    Pte::present | Pte::write | Pte::user | Pte::accessed | Pte::dirty;
inline constexpr std::uint64_t ro = Pte::present | Pte::user | Pte::accessed;
inline constexpr std::uint64_t table_bits = rw;

inline Status frame_release_allocation(MachineFrame frame, Domain& owner) {
    FreeBatch batch{owner};
    return cero::frame_release_allocation(frame, owner, batch);
}

class MemoryTest : public ::testing::Test {
protected:
    static constexpr std::uint64_t machine_frames = 2048;
    static constexpr std::uint64_t hole_first = 1500, hole_count = 16;

    void SetUp() override {
        host::reset_machine(machine_frames, hole_first, hole_count);
        table_ = std::make_unique<Atomic<std::uint64_t>[]>(machine_frames);
        host_frame_table = table_.get();
        static_cast<void>(drain_allocator());
        frame_init();
        free_at_start_ = allocator_free_frames();
        DomainTable::by_slot.clear();
        DomainTable::freed.clear();
        for (unsigned n = 0; n < guests.size(); ++n)
            make_guest(n);
        host::enter_cpu(*dom0().vcpu);
    }
    void TearDown() override {
        host::never_preempt();
        host::fault_range(nullptr, 0);
        EXPECT_EQ(frame_audit(), 0u);
        for (Guest& guest : guests)
            destroy(guest);
        for (Guest& guest : guests) { // those whose frames others had mapped until now
            EXPECT_EQ(guest.domain->memory.owned_pages.load(Order::relaxed), 0u);
            GrantTable::destroy(guest);
        }
        EXPECT_EQ(allocator_free_frames(), free_at_start_);
        static_cast<void>(drain_allocator());
    }

    Guest& dom0() { return guests[0]; }
    Guest& a() { return guests[1]; }
    Guest& b() { return guests[2]; }

    /// Takes every block out, so that the next test starts with empty lists.
    static std::uint64_t drain_allocator() {
        std::uint64_t count = 0;
        for (unsigned order = max_order + 1; order-- > 0;)
            while (allocator_free_frames() != 0 && allocator_take(order, 0, false))
                count += 1ull << order;
        return count;
    }

    void make_guest(unsigned n) {
        Guest& guest = guests[n];
        guest = Guest{};
        Domain& domain = *guest.domain;
        domain.id = DomainId{static_cast<std::uint16_t>(n)};
        domain.slot = DomainSlot{static_cast<std::uint16_t>(n + first_domain_slot)};
        domain.is_control = n == 0;
        domain.l1_kept = l1_kept(n == 0);
        domain.memory.max_pages.store(700, Order::relaxed);
        domain.vcpu_limit = 1;
        domain.vcpus[0] = guest.vcpu.get();
        guest.vcpu->domain = &domain;
        DomainTable::by_slot[domain.slot.raw()] = &domain;
        ASSERT_TRUE(GrantTable::create(domain));
    }
    /// What hv-core's teardown does, without its scheduler.
    void destroy(Guest& guest) {
        Domain& domain = *guest.domain;
        if (domain.life.load(Order::relaxed) != DomainLife::alive)
            return;
        domain.life.store(DomainLife::dying, Order::relaxed);
        Vcpu& current = *dom0().vcpu;
        while (!domain.grants->release_mappings(domain)) {
        }
        while (!drop_vcpu_roots(current, *guest.vcpu)) {
        }
        std::uint64_t cursor = 0;
        while (!relinquish_domain_memory(current, domain, cursor)) {
        }
        ASSERT_TRUE(finish_page_work(current));
        domain.life.store(DomainLife::dead, Order::relaxed);
        EXPECT_EQ(domain.memory.total_pages.load(Order::relaxed), 0u);
        if (domain.memory.owned_pages.load(Order::relaxed) == 0)
            GrantTable::destroy(domain);
    }

    static MachineFrame new_frame(Domain& domain) {
        auto frame = allocate_frame(domain);
        EXPECT_TRUE(frame);
        return frame ? *frame : MachineFrame{0};
    }
    static std::uint64_t* words(MachineFrame frame) {
        return arch::frame_ptr<std::uint64_t>(frame);
    }
    static std::uint64_t entry_address(MachineFrame table, unsigned index) {
        return to_phys(table).raw() + index * 8ull;
    }
    static Pte to(MachineFrame frame, std::uint64_t bits) { return Pte::of(frame, bits); }

    /// Runs a hypercall of `guest` with its continuations, at most `limit` of them.
    template <typename Call>
    static int run(Guest& guest, Call&& call, int limit = 100000) {
        Vcpu& vcpu = *guest.vcpu;
        host::enter_cpu(vcpu);
        for (;;) {
            vcpu.continuation_count = 0;
            const int error = call();
            if (error != static_cast<int>(Errno::restart) || limit-- == 0)
                return error;
        }
    }
    static int pin(Guest& guest, unsigned level, MachineFrame frame) {
        return ext(guest, CERO_MMUEXT_PIN_L1_TABLE + level - 1, frame.raw());
    }
    static int unpin(Guest& guest, MachineFrame frame) {
        return ext(guest, CERO_MMUEXT_UNPIN_TABLE, frame.raw());
    }
    static int ext(Guest& guest, unsigned command, std::uint64_t arg1, std::uint64_t arg2 = 0,
                   std::uint64_t domain = CERO_DOMID_SELF) {
        cero_mmuext_op op{};
        op.cmd = command;
        op.arg1.linear_addr = arg1;
        op.arg2.vcpumask = arg2;
        std::array<std::uint64_t, 4> args{reinterpret_cast<std::uint64_t>(&op), 1, 0, domain};
        return run(guest, [&] {
            const auto status = mmuext_op(*guest.vcpu, args[0], args[1], args[2], args[3]);
            take_continuation(guest, args);
            return static_cast<int>(status.error());
        });
    }
    static int update(Guest& guest, const std::vector<cero_mmu_update>& requests,
                      std::uint64_t domain = CERO_DOMID_SELF, std::uint32_t* done = nullptr) {
        std::array<std::uint64_t, 4> args{reinterpret_cast<std::uint64_t>(requests.data()),
                                          requests.size(), reinterpret_cast<std::uint64_t>(done),
                                          domain};
        return run(guest, [&] {
            const auto status = mmu_update(*guest.vcpu, args[0], args[1], args[2], args[3]);
            take_continuation(guest, args);
            return static_cast<int>(status.error());
        });
    }
    static int set_entry(Guest& guest, MachineFrame table, unsigned index, Pte value,
                         std::uint64_t domain = CERO_DOMID_SELF) {
        return update(guest, {{entry_address(table, index), value.raw()}}, domain);
    }
    static void take_continuation(Guest& guest, std::array<std::uint64_t, 4>& args) {
        for (unsigned n = 0; n < guest.vcpu->continuation_count && n < args.size(); ++n)
            args[n] = guest.vcpu->continuation[n];
        guest.vcpu->continuation_count = 0;
    }
    static std::int64_t memory(Guest& guest, std::uint64_t command, void* argument) {
        std::array<std::uint64_t, 4> args{command, reinterpret_cast<std::uint64_t>(argument), 0, 0};
        std::int64_t value = 0;
        const int error = run(guest, [&] {
            auto result = memory_op(*guest.vcpu, args[0], args[1]);
            take_continuation(guest, args);
            if (result)
                value = *result;
            return static_cast<int>(result.error());
        });
        return error != 0 ? -error : value;
    }

    static std::vector<std::uint64_t> snapshot() {
        std::vector<std::uint64_t> words;
        for (std::uint64_t n = 0; n < machine_frames; ++n) {
            const FrameWord word = frame_look(MachineFrame{n});
            words.push_back(word.is_owned_by(slot_free) ? 0 : word.raw());
        }
        return words;
    }

    std::array<Guest, 3> guests;
    std::unique_ptr<Atomic<std::uint64_t>[]> table_;
    std::uint64_t free_at_start_{};
};

inline constexpr int ok = 0;
constexpr int code(Errno error) {
    return static_cast<int>(error);
}

} // namespace cero::test
