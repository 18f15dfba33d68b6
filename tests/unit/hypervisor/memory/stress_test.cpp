// SPDX-License-Identifier: BSD-2-Clause
// vCPUs of one domain on several threads: pin, unpin, update, map and unmap grants at the same
// time. Built with the thread sanitizer; in the end all counts must add up.
#include "fixture.hpp"

#include <random>
#include <thread>

namespace cero::test {
namespace {

constexpr unsigned thread_count = 4;
constexpr unsigned frame_count = 24;

class StressTest : public MemoryTest {
protected:
    void SetUp() override {
        MemoryTest::SetUp();
        host::log_to_stderr = true;
        for (unsigned n = 1; n < thread_count; ++n) {
            extra.push_back(std::make_unique<Vcpu>());
            extra.back()->domain = a().domain.get();
            extra.back()->id = VcpuId{n};
            a().domain->vcpus[n] = extra.back().get();
        }
        a().domain->vcpu_limit = thread_count;
        for (MachineFrame& frame : frames)
            frame = new_frame(a());
    }
    Vcpu& vcpu(unsigned n) { return n == 0 ? *a().vcpu : *extra[n - 1]; }

    template <typename Body>
    void on_all_cpus(Body body) {
        std::vector<std::thread> threads;
        for (unsigned n = 0; n < thread_count; ++n)
            threads.emplace_back([this, n, &body] {
                host::enter_cpu(vcpu(n), n);
                std::mt19937 random{n + 1};
                body(vcpu(n), random);
                while (!finish_page_work(vcpu(n))) {
                }
            });
        for (std::thread& thread : threads)
            thread.join();
        host::enter_cpu(*dom0().vcpu);
    }
    std::vector<std::unique_ptr<Vcpu>> extra;
    std::array<MachineFrame, frame_count> frames;
};

void one_extended(Vcpu& vcpu, unsigned command, std::uint64_t frame) {
    cero_mmuext_op op{};
    op.cmd = command;
    op.arg1.mfn = frame;
    while (mmuext_op(vcpu, reinterpret_cast<std::uint64_t>(&op), 1, 0, CERO_DOMID_SELF).error() ==
           Errno::restart) {
        // As the guest would: the same call again (its one request may be done already).
        if (vcpu.continuation_count > 1 && (vcpu.continuation[1] & 0xff) == 0 &&
            finish_page_work(vcpu))
            break;
    }
}

TEST_F(StressTest, PinUnpinUpdate) {
    on_all_cpus([this](Vcpu& vcpu, std::mt19937& random) {
        for (int step = 0; step < 3000; ++step) {
            const MachineFrame frame = frames[random() % frame_count];
            const unsigned kind = random() % 10;
            if (kind == 0) {
                one_extended(vcpu, CERO_MMUEXT_PIN_L1_TABLE + random() % 4, frame.raw());
            } else if (kind == 1) {
                one_extended(vcpu, CERO_MMUEXT_UNPIN_TABLE, frame.raw());
            } else if (kind == 2) {
                if (frame_get_writable(frame, vcpu.domain->slot))
                    frame_put_writable(frame);
            } else {
                const std::uint64_t bits =
                    random() % 4 == 0 ? 0
                                      : to(frames[random() % frame_count],
                                           Pte::present | Pte::user |
                                               (random() % 3 == 0 ? std::uint64_t{Pte::write} : 0))
                                            .raw();
                const cero_mmu_update request{entry_address(frame, random() % 4), bits};
                static_cast<void>(mmu_update(vcpu, reinterpret_cast<std::uint64_t>(&request), 1, 0,
                                             CERO_DOMID_SELF));
            }
        }
    });
    EXPECT_EQ(frame_audit(), 0u);
}

TEST_F(StressTest, SharedTablesComeAndGo) {
    // Every vCPU builds and drops trees over the same lower levels.
    const MachineFrame l3 = frames[0], l2 = frames[1], l1 = frames[2], data = frames[3];
    words(l3)[0] = to(l2, table_bits).raw();
    words(l2)[0] = words(l2)[7] = to(l1, table_bits).raw();
    words(l1)[0] = to(data, rw).raw();
    for (unsigned n = 0; n < thread_count; ++n)
        words(frames[10 + n])[0] = to(l3, table_bits).raw();
    host::preempt_after(50, true);
    on_all_cpus([this](Vcpu& vcpu, std::mt19937&) {
        const MachineFrame own = frames[10 + vcpu.id.raw()];
        for (int step = 0; step < 1500; ++step) {
            one_extended(vcpu, CERO_MMUEXT_PIN_L4_TABLE, own.raw());
            one_extended(vcpu, CERO_MMUEXT_UNPIN_TABLE, own.raw());
        }
    });
    host::never_preempt();
    for (const MachineFrame frame : frames) {
        PageContext context{*dom0().vcpu, a(), a().domain->slot};
        ASSERT_TRUE(drain_partial(context, frame));
    }
    EXPECT_EQ(frame_audit(), 0u);
    EXPECT_EQ(frame_look(data).refs(), 1u);
}

TEST_F(StressTest, AllocateAndFree) {
    a().domain->memory.max_pages.store(400, Order::relaxed);
    on_all_cpus([this](Vcpu&, std::mt19937& random) {
        std::vector<MachineFrame> held;
        for (int step = 0; step < 3000; ++step) {
            if (random() % 2 == 0) {
                auto frame = allocate_frames(a(), 0);
                if (frame)
                    held.push_back(*frame);
            } else if (!held.empty()) {
                ASSERT_TRUE(frame_release_allocation(held.back(), a()));
                held.pop_back();
            }
            if (random() % 16 == 0)
                allocator_scrub_some();
        }
    });
    EXPECT_EQ(frame_audit(), 0u);
}

TEST_F(StressTest, GrantsBothWays) {
    ASSERT_TRUE(b().domain->grants->grow(b(), 1));
    const MachineFrame shared = new_frame(b());
    auto* entries =
        arch::frame_ptr<cero_grant_entry_v1>(MachineFrame{b().domain->grants->shared[0]});
    for (unsigned ref = 8; ref < 16; ++ref)
        entries[ref] = {CERO_GTF_permit_access, 1, static_cast<std::uint32_t>(shared.raw())};
    ASSERT_EQ(pin(a(), 1, frames[0]), ok);
    on_all_cpus([this](Vcpu& vcpu, std::mt19937& random) {
        for (int step = 0; step < 1000; ++step) {
            cero_gnttab_map_grant_ref map{};
            map.host_addr = entry_address(frames[0], vcpu.id.raw() * 100 + random() % 100);
            map.flags = CERO_GNTMAP_host_map | CERO_GNTMAP_contains_pte |
                        (random() % 2 == 0 ? CERO_GNTMAP_readonly : 0);
            map.ref = 8 + random() % 8;
            map.dom = 2;
            ASSERT_TRUE(grant_table_op(vcpu, CERO_GNTTABOP_map_grant_ref,
                                       reinterpret_cast<std::uint64_t>(&map), 1));
            ASSERT_EQ(map.status, CERO_GNTST_okay);
            cero_gnttab_unmap_grant_ref unmap{map.host_addr, 0, map.handle, 0, 0};
            ASSERT_TRUE(grant_table_op(vcpu, CERO_GNTTABOP_unmap_grant_ref,
                                       reinterpret_cast<std::uint64_t>(&unmap), 1));
            ASSERT_EQ(unmap.status, CERO_GNTST_okay);
        }
    });
    EXPECT_EQ(frame_look(shared).refs(), 1u);
    EXPECT_EQ(entries[9].flags, CERO_GTF_permit_access);
    EXPECT_EQ(frame_audit(), 0u);
}

} // namespace
} // namespace cero::test
