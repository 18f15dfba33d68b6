// SPDX-License-Identifier: BSD-2-Clause
// IntrusiveList: a circular doubly linked list through a member of its elements. Never allocates.
#pragma once

#include <cstddef>

namespace cero {

/// Embedded link. Unlinked when both pointers are null; an element may be in one list per link.
struct ListLink {
    ListLink* prev{};
    ListLink* next{};
    [[nodiscard]] bool is_linked() const noexcept { return next != nullptr; }
};

/// List of T through the link `Member`. The caller provides locking.
template <typename T, ListLink T::*Member>
class IntrusiveList {
public:
    /// Constant-initialisable, so a list may be a global without a constructor to run.
    constexpr IntrusiveList() noexcept { head_.prev = head_.next = &head_; }
    IntrusiveList(const IntrusiveList&) = delete;
    IntrusiveList& operator=(const IntrusiveList&) = delete;

    [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
    [[nodiscard]] T* front() noexcept { return empty() ? nullptr : owner(head_.next); }
    [[nodiscard]] T* back() noexcept { return empty() ? nullptr : owner(head_.prev); }
    [[nodiscard]] T* next(T& item) noexcept {
        ListLink* link = (item.*Member).next;
        return link == &head_ ? nullptr : owner(link);
    }

    [[nodiscard]] T* previous(T& item) noexcept {
        ListLink* link = (item.*Member).prev;
        return link == &head_ ? nullptr : owner(link);
    }

    void push_back(T& item) noexcept { insert_link(*head_.prev, item.*Member); }
    void push_front(T& item) noexcept { insert_link(head_, item.*Member); }
    /// Inserts `item` before `position`.
    void insert_before(T& position, T& item) noexcept {
        insert_link(*(position.*Member).prev, item.*Member);
    }
    /// Removes a linked element; a no-op for an unlinked one.
    static void remove(T& item) noexcept {
        ListLink& link = item.*Member;
        if (!link.is_linked())
            return;
        link.prev->next = link.next;
        link.next->prev = link.prev;
        link.prev = link.next = nullptr;
    }
    T* pop_front() noexcept {
        T* item = front();
        if (item != nullptr)
            remove(*item);
        return item;
    }

    class Iterator {
    public:
        explicit Iterator(ListLink* at) noexcept : at_{at} {}
        T& operator*() const noexcept { return *owner(at_); }
        Iterator& operator++() noexcept {
            at_ = at_->next;
            return *this;
        }
        bool operator!=(const Iterator& other) const noexcept { return at_ != other.at_; }

    private:
        ListLink* at_;
    };
    [[nodiscard]] Iterator begin() noexcept { return Iterator{head_.next}; }
    [[nodiscard]] Iterator end() noexcept { return Iterator{&head_}; }

private:
    static T* owner(ListLink* link) noexcept {
        // The offset of Member within T, computed on raw storage: offsetof for a pointer to member.
        alignas(T) static unsigned char storage[1];
        const auto* base = reinterpret_cast<const T*>(storage);
        const auto offset =
            reinterpret_cast<const char*>(&(base->*Member)) - reinterpret_cast<const char*>(base);
        return reinterpret_cast<T*>(reinterpret_cast<char*>(link) - offset);
    }
    static void insert_link(ListLink& after, ListLink& link) noexcept {
        link.prev = &after;
        link.next = after.next;
        after.next->prev = &link;
        after.next = &link;
    }
    ListLink head_;
};

} // namespace cero
