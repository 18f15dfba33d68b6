// SPDX-License-Identifier: BSD-2-Clause
// RadixTree: a sparse array of pointers by 64-bit index, six bits per level. The caller locks.
#pragma once

#include <kernel/memory.hpp>

#include <cstdint>

namespace kernel {

template <typename T>
class RadixTree {
public:
    RadixTree() noexcept = default;
    RadixTree(const RadixTree&) = delete;
    RadixTree& operator=(const RadixTree&) = delete;
    ~RadixTree() { free_node(root_, height_); }

    [[nodiscard]] T* find(std::uint64_t index) const noexcept {
        if (!covers(index))
            return nullptr;
        void* at = root_;
        for (unsigned level = height_; level != 0 && at != nullptr; --level)
            at = static_cast<Node*>(at)->slots[slot_of(index, level)];
        return static_cast<T*>(at);
    }

    /// Puts `item` at a free index.
    [[nodiscard]] bool insert(std::uint64_t index, T* item) noexcept {
        while (!covers(index) || height_ == 0)
            if (!add_level())
                return false;
        auto* node = static_cast<Node*>(root_);
        for (unsigned level = height_; level > 1; --level) {
            void*& slot = node->slots[slot_of(index, level)];
            if (slot == nullptr) {
                slot = kzalloc(sizeof(Node));
                if (slot == nullptr)
                    return false;
                ++node->used;
            }
            node = static_cast<Node*>(slot);
        }
        node->slots[slot_of(index, 1)] = item;
        ++node->used;
        return true;
    }

    T* erase(std::uint64_t index) noexcept {
        if (!covers(index) || root_ == nullptr)
            return nullptr;
        Node* path[max_height];
        auto* node = static_cast<Node*>(root_);
        for (unsigned level = height_; level > 1; --level) {
            path[level - 1] = node;
            node = static_cast<Node*>(node->slots[slot_of(index, level)]);
            if (node == nullptr)
                return nullptr;
        }
        void*& leaf = node->slots[slot_of(index, 1)];
        T* item = static_cast<T*>(leaf);
        if (item == nullptr)
            return nullptr;
        leaf = nullptr;
        --node->used;
        for (unsigned level = 2; level <= height_ && node->used == 0; ++level) {
            kfree(node);
            node = path[level - 1];
            node->slots[slot_of(index, level)] = nullptr;
            --node->used;
        }
        return item;
    }

    /// The first item at or behind `index`, which is set to its place; null if none.
    [[nodiscard]] T* next(std::uint64_t& index) const noexcept {
        if (root_ == nullptr || !covers(index))
            return nullptr;
        for (;;) {
            const void* at = root_;
            unsigned level = height_;
            while (level != 0 && at != nullptr) {
                at = static_cast<const Node*>(at)->slots[slot_of(index, level)];
                --level;
            }
            if (at != nullptr)
                return static_cast<T*>(const_cast<void*>(at));
            const std::uint64_t step = std::uint64_t{1} << (bits * level);
            index = (index & ~(step - 1)) + step;
            if (!covers(index) || index == 0)
                return nullptr;
        }
    }

    [[nodiscard]] bool empty() const noexcept {
        return root_ == nullptr || static_cast<const Node*>(root_)->used == 0;
    }

private:
    static constexpr unsigned bits = 6;
    static constexpr unsigned max_height = 10;
    struct Node {
        void* slots[1U << bits];
        std::uint32_t used;
    };

    static unsigned slot_of(std::uint64_t index, unsigned level) noexcept {
        return static_cast<unsigned>(index >> (bits * (level - 1))) & ((1U << bits) - 1);
    }
    [[nodiscard]] bool covers(std::uint64_t index) const noexcept {
        return bits * height_ >= 64 || (index >> (bits * height_)) == 0;
    }
    bool add_level() noexcept {
        auto* node = static_cast<Node*>(kzalloc(sizeof(Node)));
        if (node == nullptr)
            return false;
        if (root_ != nullptr) {
            node->slots[0] = root_;
            node->used = 1;
        }
        root_ = node;
        ++height_;
        return true;
    }
    static void free_node(void* at, unsigned level) noexcept {
        if (at == nullptr || level == 0)
            return;
        if (level > 1)
            for (void* child : static_cast<Node*>(at)->slots)
                free_node(child, level - 1);
        kfree(at);
    }

    void* root_{};
    unsigned height_{};
};

} // namespace kernel
