/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entry of the test guest. PVH (xen/include/public/arch-x86/hvm/start_info.h) starts us in 32-bit protected mode
 * without paging, EBX -> start info. Page tables and descriptor tables are data of the image, so that level 0 has
 * almost nothing to execute: switch to long mode, load the tables, iretq to level 3 with IOPL 3. From there on the
 * guest stays at level 3, but for a system call that halts and for the interrupt stubs (a count, an EOI).
 */
#define CODE0 0x08
#define DATA0 0x10
#define CODE32 0x18
#define DATA3 0x23
#define CODE3 0x2b
#define TSS0  0x30
#define FLAGS3 0x0002 /* interrupts off: C fills the IDT and the TSS first */
/* A TSS a CPU, 128 bytes each, and one I/O bitmap behind them (all ports open: zero, as memory is at the start; IOPL
 * would be shorter, but a KVM that runs level 3 on bare metal does not keep it). */
#define TSS_ADDRESS 0x9000
#define TSS_LIMIT (16 * 128 + 8192)

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long pvh_entry

    .section .text
    .code32
    .globl pvh_entry
pvh_entry:
    cld
    movl %ebx, start_info
    xorl %ebp, %ebp /* CPU 0 */
    lgdt gdt_pointer

/* EBP: index of this CPU. */
enter_long_mode:
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    xorl %edx, %edx
    movl $0x100, %eax /* LME */
    wrmsr
    movl $0x80000011, %eax /* PG, ET, PE */
    movl %eax, %cr0
    ljmp $CODE0, $long_mode

    .code64
long_mode:
    lidt idt_pointer
    leal TSS0(,%ebp,8), %eax
    leal (%eax,%ebp,8), %eax /* a 64-bit TSS descriptor takes two slots */
    ltr %ax
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %ebp, %eax
    shll $14, %eax /* 16 KiB of stack a CPU */
    leal stacks+0x4000(%eax), %eax
    movl %eax, %esp
    movl %ebp, %edi
    movl start_info, %esi
    pushq $DATA3
    pushq %rax
    pushq $FLAGS3
    pushq $CODE3
    pushq $level3
    iretq

level3:
    xorl %ebp, %ebp
    testl %edi, %edi
    jnz 2f
    movl %esi, %edi
    call guest_main
1:  jmp 1b
2:  call guest_cpu
1:  jmp 1b

/*
 * The one system call is ud2: a KVM without hardware help emulates neither INT nor SYSCALL, but it delivers exceptions.
 * Interrupts are off in here, and on at the caller afterwards. EAX = 0: nothing more. EAX = 1: sleep until an interrupt,
 * unless the 32-bit word at RDI is no longer ESI.
 */
    .globl system_call
system_call:
    addq $2, (%rsp)
    orl $0x200, 16(%rsp)
    testl %eax, %eax
    jz 1f
    cmpl %esi, (%rdi)
    jne 1f
    sti
    hlt
    cli
1:  iretq

    .globl stubs, exceptions
    .balign 64
stubs:
    .macro interrupt_stub number
    .balign 64
stub_\number:
    lock incl interrupt_counts+4*\number
    lock incl interrupt_total
    pushq %rax
    movl $0xfee000b0, %eax
    movl $0, (%rax) /* EOI */
    popq %rax
    iretq
    .endm
    .altmacro
    .set i, 0
    .rept 16
    interrupt_stub %i
    .set i, i+1
    .endr

/* Any exception: tell which one on the debug line and stop. */
    .macro exception_stub number
    .balign 16
    .if (\number == 8) || ((\number >= 10) && (\number <= 14)) || (\number == 17)
    nop
    .else
    pushq $0
    .endif
    pushq $\number
    jmp exception_common
    .endm
    .balign 16
exceptions:
    .set i, 0
    .rept 32
    exception_stub %i
    .set i, i+1
    .endr
exception_common:
    movq %rsp, %rdi
    call guest_exception
1:  hlt
    jmp 1b

/* Real mode, copied to AP_TRAMPOLINE. */
    .code16
    .globl ap_trampoline, ap_trampoline_end
ap_trampoline:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl 0x8000 + (ap_gdt_pointer - ap_trampoline)
    movl $0x11, %eax
    movl %eax, %cr0
    ljmpl $CODE32, $ap_entry
    .balign 8
ap_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
ap_trampoline_end:

    .code32
ap_entry:
    movl $DATA0, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $1, %ebp
    lock xaddl %ebp, ap_next
    /* A small stack for the way down, on top of this CPU's own. */
    movl %ebp, %eax
    shll $14, %eax
    leal stacks+0x4000(%eax), %esp
    jmp enter_long_mode

    .data
    .balign 4
ap_next:
    .long 1
    .balign 8
    .word 0, 0, 0
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt, 0
    .word 0, 0, 0
idt_pointer:
    .word 256 * 16 - 1
    .quad idt

    .balign 16
    .globl gdt
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* CODE0 */
    .quad 0x00cf93000000ffff /* DATA0 */
    .quad 0x00cf9b000000ffff /* CODE32 */
    .quad 0x00cff3000000ffff /* DATA3 */
    .quad 0x00affb000000ffff /* CODE3 */
    .set i, 0
    .rept 16
    .word TSS_LIMIT - 128 * i, (TSS_ADDRESS + 128 * i) & 0xffff
    .byte (TSS_ADDRESS + 128 * i) >> 16, 0x89, 0, 0
    .quad 0
    .set i, i+1
    .endr
gdt_end:

/* 4 GiB mapped one to one with 2 MiB pages, open to level 3. */
    .balign 4096
pml4:
    .quad pdpt + 7
    .skip 4088
pdpt:
    .set i, 0
    .rept 4
    .quad pages + 4096 * i + 7
    .set i, i+1
    .endr
    .skip 4096 - 32
pages:
    .set i, 0
    .rept 2048
    .quad 0x200000 * i + 0x87
    .set i, i+1
    .endr

    .section .bss
    .balign 4096
    .globl idt
idt:
    .skip 4096
    .globl stacks
stacks:
    .skip 16 * 0x4000
    .globl start_info
start_info:
    .skip 4
