// SPDX-License-Identifier: BSD-2-Clause
// Random page-table operations against a naive reference: an operation must succeed exactly when
// the state it leads to has one use for each frame, and the counts must be those of that state.
#include "fixture.hpp"

#include <optional>
#include <random>

namespace cero::test {
namespace {

constexpr std::array<unsigned, 5> slots{0, 1, 260, 300, 511};
constexpr unsigned frame_count = 14;

/// What a frame is used for, recomputed from nothing but pins and contents.
struct Use {
    unsigned level{};     ///< 1 to 4: page table
    unsigned type_refs{}; ///< as a table, or writable mappings
    unsigned refs{1};
    bool writable{};
};

struct Need { ///< a use that an operation adds before it removes anything
    unsigned frame;
    unsigned level; ///< 0: writable
};

class Model {
public:
    std::array<std::array<std::optional<Pte>, slots.size()>, frame_count> entries{};
    std::array<unsigned, frame_count> pinned{}; ///< level, 0 = not
    /// Carries the hypervisor's entries since then, which make it useless on other levels.
    std::array<bool, frame_count> was_l4{};

    /// Index of a frame among the domain's own, or nothing.
    std::function<std::optional<unsigned>(MachineFrame)> index_of;

    [[nodiscard]] std::optional<std::array<Use, frame_count>>
    uses(std::optional<Need> extra = {}) const {
        std::array<Use, frame_count> all{};
        bool sound = true;
        std::vector<unsigned> work;
        const auto as_table = [&](unsigned frame, unsigned level) {
            Use& use = all[frame];
            if (use.writable || (use.level != 0 && use.level != level)) {
                sound = false;
                return;
            }
            if (use.level == 0)
                work.push_back(frame);
            use.level = level;
            ++use.type_refs;
            ++use.refs;
        };
        const auto as_data = [&](unsigned frame, bool writable) {
            Use& use = all[frame];
            if (writable && use.level != 0)
                sound = false;
            use.writable |= writable;
            use.type_refs += writable ? 1 : 0;
            ++use.refs;
        };
        for (unsigned f = 0; f < frame_count; ++f)
            if (pinned[f] != 0)
                as_table(f, pinned[f]);
        if (extra && extra->level == 0)
            as_data(extra->frame, true);
        if (extra && extra->level != 0)
            as_table(extra->frame, extra->level);
        while (sound && !work.empty()) {
            const unsigned frame = work.back();
            work.pop_back();
            const unsigned level = all[frame].level;
            if (was_l4[frame] && level != 4)
                return {};
            for (unsigned n = 0; n < slots.size(); ++n) {
                const auto& entry = entries[frame][n];
                if (!entry || (level == 4 && slots[n] == 260))
                    continue;
                const auto target = index_of(entry->frame());
                if (!target || (level > 1 && (entry->raw() & Pte::large) != 0))
                    return {};
                if (level > 1)
                    as_table(*target, level - 1);
                else
                    as_data(*target, entry->is_writable());
            }
        }
        if (!sound)
            return {};
        return all;
    }
};

class ModelTest : public MemoryTest, public ::testing::WithParamInterface<unsigned> {
protected:
    void SetUp() override {
        MemoryTest::SetUp();
        for (MachineFrame& frame : frames)
            frame = new_frame(a());
        foreign = new_frame(b());
        model.index_of = [this](MachineFrame frame) -> std::optional<unsigned> {
            for (unsigned n = 0; n < frame_count; ++n)
                if (frames[n] == frame)
                    return n;
            return {};
        };
    }
    /// Mostly as if frame n were meant for level 4 - n % 4, so that real trees come about.
    Pte random_entry(unsigned from) {
        const auto pick = random() % 40;
        unsigned index = random() % frame_count;
        if (pick > 10)
            while (index % 4 != (from + 1) % 4)
                index = random() % frame_count;
        const MachineFrame target = pick == 0 ? foreign : frames[index];
        std::uint64_t bits = Pte::present | Pte::user;
        bits |= random() % 3 == 0 ? std::uint64_t{Pte::write} : 0;
        bits |= pick == 1 ? std::uint64_t{Pte::large} : 0;
        return to(target, bits);
    }
    void compare() {
        // Whatever was looked at as a level-1 table, in vain too, has lost the bit that chooses how
        // memory is cached.
        for (unsigned f = 0; f < frame_count; ++f)
            for (unsigned n = 0; n < slots.size(); ++n)
                if (auto& entry = model.entries[f][n])
                    entry = Pte{entry->raw() &
                                (words(frames[f])[slots[n]] | ~std::uint64_t{Pte::large})};
        const auto uses = model.uses();
        ASSERT_TRUE(uses);
        for (unsigned n = 0; n < frame_count; ++n)
            model.was_l4[n] |= (*uses)[n].level == 4;
        for (unsigned n = 0; n < frame_count; ++n) {
            const FrameWord word = frame_look(frames[n]);
            ASSERT_EQ(word.refs(), (*uses)[n].refs) << n;
            ASSERT_EQ(word.type_refs(), (*uses)[n].type_refs) << n;
            if ((*uses)[n].level != 0) {
                ASSERT_EQ(static_cast<unsigned>(word.type()), (*uses)[n].level);
            }
        }
    }
    void try_pin() {
        const unsigned f = random() % frame_count;
        const unsigned level =
            random() % 4 != 0 ? 4 - f % 4 : 1 + static_cast<unsigned>(random() % 4);
        Model next = model;
        next.pinned[f] = level;
        const bool expected = model.pinned[f] == 0 && next.uses().has_value();
        ASSERT_EQ(pin(a(), level, frames[f]) == ok, expected) << "level " << level;
        if (expected)
            model = next;
    }
    void try_unpin() {
        const unsigned f = random() % frame_count;
        ASSERT_EQ(unpin(a(), frames[f]) == ok, model.pinned[f] != 0);
        model.pinned[f] = 0;
    }
    void try_update() {
        const unsigned f = random() % frame_count, n = random() % slots.size();
        const auto uses = model.uses();
        const unsigned level = (*uses)[f].level;
        std::optional<Pte> value;
        if (random() % 2 != 0)
            value = random_entry(f);
        Model next = model;
        next.entries[f][n] = value;
        bool expected = next.uses().has_value();
        if (level == 4 && slots[n] == 260)
            expected = false;
        if (level == 0)
            expected = true; // a plain store
        const auto target = value ? model.index_of(value->frame()) : std::nullopt;
        const auto& now = model.entries[f][n];
        const bool same_frame = value && now && now->frame() == value->frame();
        if (expected && level > 1 && value && !same_frame) // taken before the old one is dropped
            expected = model.uses(Need{*target, level - 1}).has_value();
        const int error = set_entry(a(), frames[f], slots[n], value.value_or(Pte{}));
        ASSERT_EQ(error == ok, expected) << "level " << level << " error " << error;
        if (expected)
            model = next;
    }
    std::mt19937 random{GetParam()};
    std::array<MachineFrame, frame_count> frames;
    MachineFrame foreign;
    Model model;
};

TEST_P(ModelTest, AgreesWithTheReference) {
    unsigned pins = 0;
    for (int step = 0; step < 4000; ++step) {
        if (random() % 2 != 0)
            host::preempt_after(random() % 6, random() % 4 == 0);
        else
            host::never_preempt();
        switch (random() % 8) {
        case 0:
            try_pin();
            break;
        case 1:
            try_unpin();
            break;
        default:
            try_update();
        }
        if (HasFatalFailure())
            return;
        // A refusal may have left its undoing for later.
        ASSERT_EQ(run(a(), [&] { return code(finish_page_work(*a().vcpu).error()); }), ok);
        compare();
        if (HasFatalFailure())
            return;
        for (const unsigned level : model.pinned)
            pins += level == 4 ? 1 : 0;
        if (step % 200 == 0) {
            ASSERT_EQ(frame_audit(), 0u);
        }
    }
    EXPECT_GT(pins, 0u) << "the run has seen pinned top levels";
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, ::testing::Range(1u, 13u));

} // namespace
} // namespace cero::test
