; The checks of long mode.
        LSAY "long"
        mov al, 10
        call lputc

; Interrupts and exceptions.
        L0 "divide by zero"
        div ecx
        LEND
        L3 "divide by zero, level 3"
        div ecx
        LEND
        C3 "divide by zero, compatibility mode"
        div ecx
        LEND
        L0 "ud2, stack not aligned"
        sub rsp, 3
        ud2
        LEND
        L3 "int3"
        int3
        LEND
        C3 "into, compatibility mode"
        mov al, 0x7f
        add al, 1
        into
        LEND
        mov dword [uflags], 0x5602
        L3 "int 0x30, flags"
        LEND
        L3 "int 0x31, trap gate"
        int 0x31
        LEND
        mov dword [uflags], 2
        L3 "int 0x32, stack of its own"
        int 0x32
        LEND
        L0 "int 0x32, stack of its own, level 0"
        int 0x32
        LEND
        C0 "int 0x30, compatibility mode at level 0"
        LEND
        L3 "int 0x21"
        int 0x21
        LEND
        L0 "int 0x33, not present"
        int 0x33
        LEND
        L0 "int 0x34, null"
        int 0x34
        LEND
        L0 "int 0x35, data"
        int 0x35
        LEND
        L0 "int 0x36, code not present"
        int 0x36
        LEND
        L0 "int 0x37, 32-bit code"
        int 0x37
        LEND
        L0 "int 0x38, code with L and D"
        int 0x38
        LEND
        L0 "int 0x39, task gate"
        int 0x39
        LEND
        L0 "int 0x3a, gate of 16 bits"
        int 0x3a
        LEND
        L0 "int 0x3b, call gate"
        int 0x3b
        LEND
        L0 "int 0x3c, beyond the table"
        int 0x3c
        LEND
        L0 "int 0x3d, code of level 3"
        int 0x3d
        LEND
        L3 "int 0x3e, conforming"
        mov dword [IDT + 0x3e * 16], (CONFORM << 16) + lgate_target - 0xf0000
        mov dword [start], lgate_target
        int 0x3e
        LEND
        L0 "int 0x3f, not canonical"
        int 0x3f
        LEND
        L3 "int 0x80, beyond the table"
        int 0x80
        LEND
        L0 "single step"
        push 0x102
        popfq
        nop
        nop
        LEND
        L0 "single step over mov ss, which delays the trap"
        mov eax, DATA0
        push 0x102
        popfq
        mov ss, eax
        nop
        nop
        LEND
        L0 "single step of iretq"
        FRAME DATA0, STACK0, 0x102, LCODE0, .stepped
        iretq
        nop
.stepped:
        nop
        nop
        LEND
        L0 "NT is cleared"
        push 0x4002
        popfq
        LEND
; What is wrong with the stack; the handler of %1 has one of its own.
%macro OWN_STACK 1
        mov byte [IDT + (%1) * 16 + 4], 1
%endmacro
        L3 "stack of level 0 is not canonical"
        OWN_STACK 12
        mov dword [TSS + 8], 0x8000
        int 0x30
        LEND
        L3 "stack of level 0 is not canonical, exception"
        OWN_STACK 12
        mov dword [TSS + 8], 0x8000
        ud2
        LEND
        L0 "stack of a gate is not canonical"
        mov dword [TSS + 40], 0x8000
        int 0x32
        LEND
        L3 "stack of level 0 is missing"
        OWN_STACK 14
        mov rax, VA + 0x800
        mov [TSS + 4], rax
        int 0x30
        LEND
        L3 "stack of level 0 is missing, also for the page fault"
        OWN_STACK 8
        mov rax, VA + 0x800
        mov [TSS + 4], rax
        ud2
        LEND
        L0 "task state without the stack of a gate"
        mov word [GDT + SEL_TSS], 11
        mov byte [GDT + SEL_TSS + 5], 0x89
        mov eax, SEL_TSS
        ltr ax
        int 0x32
        LEND
        L0 "double fault"
        mov byte [IDT + 11 * 16 + 5], 0
        int 0x33
        LEND
        L0 "double fault of #GP in #GP"
        mov byte [IDT + 13 * 16 + 5], 0
        int 0x80
        LEND

; IRET.
        L0 "iretq to level 3"
        FRAME DATA3, USER, 0x5602, LCODE3, .iretq3
        iretq
.iretq3:
        LEND
        L0 "iretq to compatibility mode"
        FRAME DATA3, USER, 2, CODE3, .compatible
        iretq
.compatible:
        LEND
        L0 "iretq to 16-bit code"
        FRAME DATA0, STACK0 - 0x100, 2, CODE16, .bits16 - 0xf0000
        iretq
.bits16:
        LEND
        L0 "iretq to level 0, stack null"
        FRAME 0, STACK0 - 7, 2, LCODE0, .null0
        iretq
.null0:
        LEND
        L0 "iretq to level 3, stack null"
        FRAME 3, USER, 2, LCODE3, lgate_target
        iretq
        LEND
        L0 "iretq to compatibility mode, stack null"
        FRAME 0, USER, 2, CODE0, lgate_target
        iretq
        LEND
        L0 "iretq, stack of another level"
        FRAME DATA0, USER, 2, LCODE3, lgate_target
        iretq
        LEND
        L0 "iretq, stack read-only"
        FRAME DATA3RO | 3, USER, 2, LCODE3, lgate_target
        iretq
        LEND
        L0 "iretq, stack not present"
        FRAME DATA3_ABSENT | 3, USER, 2, LCODE3, lgate_target
        iretq
        LEND
        L0 "iretq, stack beyond the table"
        FRAME 0x7fb, USER, 2, LCODE3, lgate_target
        iretq
        LEND
        L0 "iretq, code null"
        FRAME DATA3, USER, 2, 3, lgate_target
        iretq
        LEND
        L0 "iretq, code is data"
        FRAME DATA3, USER, 2, DATA3, lgate_target
        iretq
        LEND
        L0 "iretq, code not present"
        FRAME DATA0, USER, 2, LCODE0_ABSENT, lgate_target
        iretq
        LEND
        L0 "iretq, code with L and D"
        FRAME DATA0, USER, 2, BOTH, lgate_target
        iretq
        LEND
        L0 "iretq, code of another level"
        FRAME DATA3, USER, 2, LCODE0 | 3, lgate_target
        iretq
        LEND
        L0 "iretq, code beyond the table"
        FRAME DATA3, USER, 2, 0x7fb, lgate_target
        iretq
        LEND
        L0 "iretq, address not canonical"
        mov rax, HOLE
        FRAME DATA3, USER, 2, LCODE3, rax
        iretq
        LEND
        L0 "iretq, NT"
        FRAME DATA3, USER, 2, LCODE3, lgate_target
        push 0x4002
        popfq
        iretq
        LEND
        L3 "iretq to an inner level"
        FRAME DATA0, STACK0, 2, LCODE0, lgate_target
        iretq
        LEND
        L3 "iretq at level 3 sets what that may"
        FRAME DATA3, USER - 64, 0x247602, LCODE3, .flags3
        iretq
.flags3:
        LEND
        L0 "iretq sets what level 0 may"
        FRAME DATA0, STACK0 - 64, 0x247602, LCODE0, .flags0
        iretq
.flags0:
        LEND
        L0 "iretd, with VM"
        mov dword [STACK0 - 20], .iretd
        mov dword [STACK0 - 16], LCODE3
        mov dword [STACK0 - 12], 0x20002
        mov dword [STACK0 - 8], USER
        mov dword [STACK0 - 4], DATA3
        sub rsp, 20
        iretd
.iretd: LEND
        C3 "iretd in compatibility mode"
        push dword 0x202
        push dword CODE3
        push dword .iret_c
        iretd
.iret_c:
        LEND
        C3 "iretd in compatibility mode to 64-bit code"
        push dword 2
        push dword LCODE3
        push dword .iret_l
        iretd
.iret_l:
        LEND
        L0 "iretq takes away segments"
        mov eax, DATA0
        mov ds, eax
        mov eax, DATA3
        mov es, eax
        mov eax, CONFORM
        mov fs, eax
        mov eax, READONLY
        mov gs, eax
        xor eax, eax
        FRAME DATA3, USER, 2, LCODE3, .segments
        iretq
.segments:
        LEND

; Call gates. The pointer in memory has 32 bits of offset.
%macro POINTER 2                                        ; selector, offset
        mov dword [DATA], %2
        mov word [DATA + 4], %1
%endmacro
        L3 "call gate"
        POINTER GATE | 3, 0
        mov dword [start], lgate_target
        call far dword [DATA]
        LEND
        L0 "call gate at level 0"
        POINTER GATE, 0
        mov dword [start], lgate_target
        call far dword [DATA]
        LEND
        C3 "call gate from compatibility mode"
        mov dword [start], lgate_target
        call dword GATE:0
        LEND
        L3 "call gate and back"
        POINTER GATE | 3, 0
        mov word [GDT + GATE], lgate_return - 0xf0000
        call far dword [DATA]
        LEND
        C3 "call gate and back to compatibility mode"
        mov word [GDT + GATE], lgate_return - 0xf0000
        call dword GATE:0
        LEND
        L3 "call gate: what is pushed"
        POINTER GATE | 3, 0
        mov word [GDT + GATE], lgate_pushed - 0xf0000
        mov dword [start], lgate_pushed
        call far dword [DATA]
        LEND
        L3 "call gate not allowed"
        mov byte [GDT + GATE + 5], 0x8c
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate, RPL too great"
        mov byte [GDT + GATE + 5], 0xac
        POINTER GATE | 3, 0
        call far dword [DATA]
        LEND
        L3 "call gate not present"
        mov byte [GDT + GATE + 5], 0x6c
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate, upper half with a type"
        mov byte [GDT + GATE + 13], 1
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate, upper half beyond the table"
        mov rax, [GDT + GATE]
        mov [GDT + LAST], rax
        POINTER LAST, 0
        call far dword [DATA]
        LEND
        L3 "call gate to 32-bit code"
        mov word [GDT + GATE + 2], CODE0
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate to code with L and D"
        mov word [GDT + GATE + 2], BOTH
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate to data"
        mov word [GDT + GATE + 2], DATA0
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate to null"
        mov word [GDT + GATE + 2], 0
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate to code not present"
        mov word [GDT + GATE + 2], LCODE0_ABSENT
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate to an address that is not canonical"
        mov dword [GDT + GATE + 8], 0x8000
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate to conforming code"
        mov word [GDT + GATE + 2], CONFORM
        mov dword [start], lgate_target
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate, stack of level 0 is not canonical"
        mov dword [TSS + 8], 0x8000
        OWN_STACK 12
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "call gate, stack of level 0 is missing"
        mov rax, VA + 0x800
        mov [TSS + 4], rax
        OWN_STACK 14
        POINTER GATE, 0
        call far dword [DATA]
        LEND
        L3 "jmp through a gate to an inner level"
        POINTER GATE, 0
        jmp far dword [DATA]
        LEND
        L0 "jmp through a gate"
        mov dword [start], lgate_target
        POINTER GATE, 0
        jmp far dword [DATA]
        LEND
%macro FAR_TO 3                                         ; what, selector, type
        L0 %1
        mov byte [GDT + SCRATCH + 5], %3
        POINTER %2, lgate_target
        call far dword [DATA]
        LEND
%endmacro
        FAR_TO "call far to a gate of 16 bits", SCRATCH, 0x84
        FAR_TO "call far to a task gate", SCRATCH, 0x85
        FAR_TO "call far to a task", SCRATCH, 0x89
        FAR_TO "call far to a task of 16 bits", SCRATCH, 0x81
        FAR_TO "call far to an interrupt gate", SCRATCH, 0x8e
        FAR_TO "call far to the upper half of a descriptor", SCRATCH + 8, 0
        FAR_TO "call far to null", 0, 0
        FAR_TO "call far to data", DATA0, 0
        FAR_TO "call far to code with L and D", BOTH, 0
        FAR_TO "call far to code of level 3", LCODE3, 0
        FAR_TO "call far to code not present", LCODE0_ABSENT, 0
        FAR_TO "call far beyond the table", 0x7f8, 0
        L0 "jmp far to compatibility mode"
        POINTER CODE0, .jmp_c
        jmp far dword [DATA]
.jmp_c: LEND
        C3 "jmp far from compatibility mode"
        jmp LCODE3:.jmp_l
.jmp_l: LEND
        L0 "call far"
        POINTER LCODE0, .call_far
        call far dword [DATA]
.call_far:
        LEND
        L0 "retfq to level 3"
        FRAME DATA3, USER - 9, LCODE3, .retf3, 0
        add rsp, 8
        retfq
.retf3: LEND
        L0 "retfq with parameters"
        push DATA3
        push USER - 64
        push 1
        push 2
        push LCODE3
        push .retf16
        retfq 16
.retf16:
        LEND
        L0 "retfq to an address that is not canonical"
        push LCODE0
        mov rax, HOLE
        push rax
        retfq
        LEND
        L0 "retfq to level 3, stack null"
        push 0
        push USER
        push LCODE3
        push lgate_target
        retfq
        LEND
        L3 "retfq to an inner level"
        push LCODE0
        push lgate_target
        retfq
        LEND

; Task and LDT registers.
%macro SYSTEM_LOAD 4                                    ; what, instruction, type, upper half
        L0 %1
        mov rax, 0x0000000036000fff | (%3) << 40
        mov [GDT + SCRATCH], rax
        mov rax, %4
        mov [GDT + SCRATCH + 8], rax
        mov eax, SCRATCH
        %2 ax
        mov al, [GDT + SCRATCH + 5]
        LEND
%endmacro
        SYSTEM_LOAD "ltr", ltr, 0x89, 0
        SYSTEM_LOAD "ltr of a busy task", ltr, 0x8b, 0
        SYSTEM_LOAD "ltr of a task of 16 bits", ltr, 0x81, 0
        SYSTEM_LOAD "ltr of an LDT", ltr, 0x82, 0
        SYSTEM_LOAD "ltr of data", ltr, 0x93, 0
        SYSTEM_LOAD "ltr of what is not present", ltr, 0x09, 0
        SYSTEM_LOAD "ltr of a base that is not canonical", ltr, 0x89, 0x8000
        SYSTEM_LOAD "ltr of an upper half with a type", ltr, 0x89, 0x0000090000000000
        SYSTEM_LOAD "lldt", lldt, 0x82, 0
        SYSTEM_LOAD "lldt of a task", lldt, 0x89, 0
        SYSTEM_LOAD "lldt of data", lldt, 0x93, 0
        SYSTEM_LOAD "lldt of what is not present", lldt, 0x02, 0
        SYSTEM_LOAD "lldt of a base that is not canonical", lldt, 0x82, 0x8000
        L0 "ltr of null"
        ltr ax
        LEND
        L0 "ltr, upper half beyond the table"
        mov eax, LAST
        ltr ax
        LEND
        L0 "ltr of a selector of the LDT"
        mov eax, SEL_TSS | 4
        ltr ax
        LEND
        L0 "lldt of null, then a selector of it"
        lldt ax
        mov eax, 0x0f
        mov ds, eax
        LEND
        L0 "a selector of the LDT"
        mov eax, SEL_LDT
        lldt ax
        mov eax, 0x0f
        mov ds, eax
        LEND
        L0 "a selector of an LDT that is missing, level 3"
        mov rax, 0x40008240000000ff                     ; its base is VA
        mov [GDT + SCRATCH], rax
        mov qword [GDT + SCRATCH + 8], VA >> 32
        mov eax, SCRATCH
        lldt ax
        USER_WITH 2
        mov eax, 0x0f
        mov ds, eax
        LEND
        L0 "the accessed bit of a descriptor"
        mov rax, 0x00cf92000000ffff
        mov [GDT + SCRATCH], rax
        mov eax, SCRATCH
        mov es, eax
        mov rax, [GDT + SCRATCH]
        LEND
        L3 "ltr at level 3"
        mov eax, SEL_TSS
        ltr ax
        LEND
        L3 "lldt at level 3"
        lldt ax
        LEND
        L0 "str and sldt"
        mov eax, SEL_LDT
        lldt ax
        sldt rax
        shl eax, 16
        str ecx
        add eax, ecx
        LEND

; Segment registers.
        L0 "mov ss, null"
        mov ss, eax
        push rax
        LEND
        L0 "mov ss, null with RPL 3"
        mov eax, 3
        mov ss, eax
        LEND
        L3 "mov ss, null, level 3"
        mov eax, 3
        mov ss, eax
        LEND
        C0 "mov ss, null, compatibility mode"
        mov ss, eax
        LEND
        L3 "mov ds, null; load"
        mov ds, eax
        mov es, eax
        mov eax, [PAGE]
        LEND
        C3 "mov ds, null, compatibility mode; load"
        mov ds, eax
        mov eax, [PAGE]
        LEND
        L0 "mov ss, of level 3"
        mov eax, DATA3
        mov ss, eax
        LEND
        L0 "mov ss, not present"
        mov eax, ABSENT
        mov ss, eax
        LEND
        L0 "mov ds, not present"
        mov eax, ABSENT
        mov ds, eax
        LEND
        L0 "mov ds, code with L and D"
        mov eax, BOTH
        mov ds, eax
        LEND
        L0 "mov ds, code that cannot be read"
        mov eax, EXECUTE
        mov ds, eax
        LEND
        L0 "mov ds, task"
        mov eax, SEL_TSS
        mov ds, eax
        LEND
        L0 "mov ds, beyond the table"
        mov eax, 0x7f8
        mov ds, eax
        LEND
        L0 "mov cs"
        db 0x8e, 0xc8
        LEND
        L3 "mov ds, of level 0"
        mov eax, DATA0
        mov ds, eax
        LEND
        L0 "base and limit of DS count for nothing"
        mov eax, LOW
        mov ds, eax
        mov eax, [PAGE]
        LEND
        L0 "base of FS, no limit"
        mov eax, LOW
        mov fs, eax
        mov eax, [fs:PAGE - DATA]
        LEND
        L0 "a read-only segment can be written"
        mov eax, READONLY
        mov ds, eax
        mov dword [DATA], 0x1234
        db 0x2e                                         ; CS
        mov dword [DATA + 4], 0x5678
        mov rax, [DATA]
        LEND
        C3 "beyond the limit, compatibility mode"
        mov ax, LOW | 3
        mov ds, ax
        mov eax, [0xffd]
        LEND
        C3 "write to code, compatibility mode"
        mov [cs:DATA], eax
        LEND
        L0 "lss"
        mov dword [DATA], STACK0 - 64
        mov word [DATA + 4], ABSENT
        lss esp, [DATA]
        LEND
        L0 "lfs"
        mov dword [DATA], 0x12345678
        mov word [DATA + 4], LOW
        lfs eax, [DATA]
        LEND

; LAR and LSL: a bit of EAX for each type that has them.
%macro LVISIBLE 2
        L0 %1
%%type: mov edx, ebp
        or edx, 0x80
        shl edx, 8
        or edx, 0x00cf0000
        mov dword [GDT + SCRATCH + 4], edx
        mov ecx, SCRATCH
        %2
        jnz %%no
        bts eax, ebp
%%no:   inc ebp
        cmp ebp, 32
        jb %%type
        LEND
%endmacro
        LVISIBLE "lar", {lar edx, ecx}
        LVISIBLE "lsl", {lsl edx, ecx}
        LVISIBLE "verr", {verr cx}
        LVISIBLE "verw", {verw cx}

; SYSCALL and SYSRET.
%macro SYSCALL_ON 2                                     ; FMASK, target
        WRMSR MSR_STAR, (LCODE0 | (CODE3 << 16)) << 32
        WRMSR MSR_LSTAR, %2
        WRMSR MSR_FMASK, %1
%endmacro
        L0 "syscall"
        SYSCALL_ON 0x700, sys_target
        USER_WITH 0x203
        syscall
        LEND
        L0 "syscall: r11"
        SYSCALL_ON 0x4700, sys_flags
        USER_WITH 0x4603
        syscall
        LEND
        L0 "syscall at level 0"
        SYSCALL_ON 0, sys_target
        syscall
        LEND
        L0 "syscall without EFER.SCE"
        SYSCALL_ON 0, sys_target
        WRMSR MSR_EFER, 0xd00
        syscall
        LEND
        L0 "sysret without EFER.SCE"
        SYSCALL_ON 0, sys_target
        WRMSR MSR_EFER, 0xd00
        o64 sysret
        LEND
        L3 "sysret at level 3"
        o64 sysret
        LEND
        L0 "sysretq"
        SYSCALL_ON 0, sys_target
        mov ecx, .sysretq
        mov r11d, 0x205602
        o64 sysret
.sysretq:
        LEND
        L0 "sysretd to compatibility mode"
        SYSCALL_ON 0, sys_target
        mov rcx, .sysretd + 0x100000000
        mov r11d, 2
        sysret
.sysretd:
        LEND
        L0 "sysretq: VM and RF are not set"
        SYSCALL_ON 0, sys_target
        mov ecx, .sysvm
        mov r11d, 0x30002
        o64 sysret
.sysvm: pushfq
        pop rax
        LEND
        L0 "single step over syscall, TF masked"
        SYSCALL_ON 0x100, sys_target
        mov dword [start], sys_target
        USER_WITH 0x2
        push 0x102
        popfq
        syscall
        LEND
        L0 "single step over syscall, TF not masked"
        SYSCALL_ON 0, sys_target
        USER_WITH 0x2
        mov dword [start], sys_target
        push 0x102
        popfq
        syscall
        LEND
        L0 "single step of sysretq"
        SYSCALL_ON 0, sys_target
        mov ecx, .sysstep
        mov r11d, 0x102
        o64 sysret
        nop
.sysstep:
        nop
        LEND

; Bases of FS and GS.
        L0 "swapgs"
        WRMSR MSR_GS, 0x123456789000
        WRMSR MSR_KERNEL_GS, 0xffff876543210000
        swapgs
        RDMSR MSR_KERNEL_GS
        mov rbx, rax
        RDMSR MSR_GS
        add rax, rbx
        LEND
        L3 "swapgs at level 3"
        swapgs
        LEND
        C0 "swapgs in compatibility mode"
        db 0x0f, 0x01, 0xf8
        LEND
        L0 "address size 32"
        WRMSR MSR_FS, VA
        mov qword [PT], PAGE | 7
        mov rsi, 0x123456700000000
        mov eax, [fs:esi]
        LEND
        L0 "rdgsbase of level 3, 32 bits"
        WRMSR MSR_GS, 0x0000567887654321
        mov eax, 0x10020
        mov cr4, rax
        USER_WITH 2
        mov rax, -1
        rdgsbase eax
        LEND
        L0 "loads through FS and GS"
        WRMSR MSR_FS, VA
        WRMSR MSR_GS, 0xffffffff80000000
        mov qword [PT], PAGE | 7
        mov ecx, 0x80000000
        mov eax, [fs:0]
        add eax, [gs:rcx + PAGE]
        LEND
        L0 "FS leads to an address that is not canonical"
        WRMSR MSR_FS, 0x7ffffffff000
        mov eax, [fs:0x1000]
        LEND
        L0 "rdfsbase without CR4.FSGSBASE"
        rdfsbase rax
        LEND
        L0 "wrfsbase, rdfsbase"
        mov eax, 0x10020
        mov cr4, rax
        mov rcx, 0x123456789a
        wrfsbase rcx
        rdfsbase rax
        LEND
        L0 "wrgsbase, not canonical"
        mov eax, 0x10020
        mov cr4, rax
        mov rax, HOLE
        wrgsbase rax
        LEND
        C0 "rdfsbase in compatibility mode"
        mov eax, 0x10020
        mov cr4, eax
        db 0xf3, 0x0f, 0xae, 0xc0
        LEND
%macro MSR_HOLE 2
        L0 %1
        WRMSR %2, HOLE
        LEND
%endmacro
        MSR_HOLE "wrmsr, FS base not canonical", MSR_FS
        MSR_HOLE "wrmsr, GS base not canonical", MSR_GS
        MSR_HOLE "wrmsr, kernel's GS base not canonical", MSR_KERNEL_GS
        MSR_HOLE "wrmsr, LSTAR not canonical", MSR_LSTAR
        MSR_HOLE "wrmsr, CSTAR not canonical", 0xc0000083
        MSR_HOLE "wrmsr, SYSENTER_EIP not canonical", 0x176

; Addresses that are not canonical.
%macro NOT_CANONICAL 2+
 %strcat title "not canonical: ", %1
        L0 title
        mov rax, HOLE
        mov rbp, rax
        mov rsi, rax
        mov rdi, rax
        %2
        LEND
%endmacro
        NOT_CANONICAL "mov eax, [rax]", mov eax, [rax]
        NOT_CANONICAL "mov [rax], eax", mov [rax], eax
        NOT_CANONICAL "mov eax, [rbp]", mov eax, [rbp]
        NOT_CANONICAL "mov eax, [rax + rbp]", mov eax, [rax + rbp]
        NOT_CANONICAL "mov eax, [fs:rbp]", mov eax, [fs:rbp]
        NOT_CANONICAL "mov eax, moffs", mov eax, [qword HOLE]
        NOT_CANONICAL "movsb", movsb
        L0 "not canonical: rep stosq"
        mov rdi, HOLE
        mov ecx, 5
        rep stosq
        LEND
        NOT_CANONICAL "rep stosq of nothing", rep stosq
        NOT_CANONICAL "lea", lea rax, [rbp + 8]
        NOT_CANONICAL "invlpg", invlpg [rax]
        NOT_CANONICAL "clflush", clflush [rax]
        NOT_CANONICAL "prefetcht0", prefetcht0 [rax]
        NOT_CANONICAL "nop", nop dword [rax]
        NOT_CANONICAL "jmp rax", jmp rax
        NOT_CANONICAL "call rax", call rax
        NOT_CANONICAL "jmp [rax]", jmp [rax]
        NOT_CANONICAL "lgdt", lgdt [rax]
        NOT_CANONICAL "leave", leave
%macro STACK_HOLE 2+
 %strcat title "stack not canonical: ", %1
        L0 title
        OWN_STACK 12
        OWN_STACK 13
        OWN_STACK 8
        mov rsp, HOLE + 8
        %2
        LEND
%endmacro
        STACK_HOLE "push", push rax
        STACK_HOLE "pop", pop rax
        STACK_HOLE "call", call lgate_target
        STACK_HOLE "ret", ret
        STACK_HOLE "mov eax, [rsp]", mov eax, [rsp]
        STACK_HOLE "enter", enter 0, 0
        STACK_HOLE "pushfq", pushfq
        STACK_HOLE "iretq", iretq
        STACK_HOLE "retfq", retfq
        STACK_HOLE "int 0x30", int 0x30
        L0 "ret to an address that is not canonical"
        mov rax, HOLE
        push rax
        ret
        LEND
%ifndef QEMU
        L0 "lgdt of a base that is not canonical"
        mov rax, HOLE
        mov [DATA + 2], rax
        lgdt [DATA]
        LEND
        L0 "lidt of a base that is not canonical"
        mov rax, HOLE
        mov [DATA + 2], rax
        lidt [DATA]
        LEND
%endif

; Paging, like that of PAE. The last values of a mode are the entry of an upper level.
        mov dword [l], 0
.level: mov dword [i], 0
.line:  LHEX [l], 1
        mov al, ' '
        call lputc
        LHEX [i], 1
        mov al, ':'
        call lputc
        mov dword [j], 0
.column:
        mov dword [k], 0
.access:
        mov dword [terse], 1
        call lsetup
        mov dword [next], .next
        mov ebx, [l]
        shl ebx, 5
        mov edx, [.modes + rbx + 16]
        mov eax, [i]
        lea ecx, [rax * 2 + 1]
        and ecx, 7
        shl rax, 61
        shr rax, 63
        shl rax, 63
        and qword [rdx], ~7
        or rax, rcx
        or [rdx], rax
        mov eax, [j]
        lea ecx, [rax * 2 + PAGE + 1]
        and ecx, PAGE | 7
        shr eax, 2
        shl rax, 63
        or rax, rcx
        mov [PT], rax
        mov esp, STACK0
        ; With SMEP and SMAP the program itself is on pages of level 0.
        mov eax, [.modes + rbx]
        test eax, 0x300000
        jz .user_pages
        mov byte [DIR_PD], 3
.user_pages:
        or eax, 0x20
        mov cr4, rax
        mov eax, [.modes + rbx + 4]
        mov cr0, rax
        push qword [.modes + rbx + 8]
        popfq
        mov edx, [k]
        mov edi, [.accesses + rdx * 4]
        mov rsi, VA
        xor eax, eax
        cmp dword [.modes + rbx + 20], 0
        jne lto_user
        jmp rdi
        align 8
.modes: dd 0, 0x80000011, 2, 0, PD + 16, 0, 0, 0
        dd 0, 0x80010011, 2, 0, PD + 16, 0, 0, 0
        dd 0, 0x80010011, 2, 0, PD + 16, 1, 0, 0
        dd 0x100000, 0x80010011, 2, 0, PD + 16, 0, 0, 0
        dd 0x200000, 0x80010011, 2, 0, PD + 16, 0, 0, 0
        dd 0x300000, 0x80000011, 0x40002, 0, PD + 16, 0, 0, 0
        dd 0, 0x80010011, 2, 0, PDPT + 8, 1, 0, 0
        dd 0, 0x80010011, 2, 0, DIR + 255 * 8, 1, 0, 0
.accesses: dd .read, .write, .modify, .execute
.read:  mov eax, [rsi + 8]
        int 0x30
.write: mov [rsi + 8], eax
        int 0x30
.modify:
        lock or dword [rsi + 8], eax
        int 0x30
.execute:
        jmp rsi
.next:  inc dword [k]
        cmp dword [k], 4
        jb .access
        mov al, '|'
        call lputc
        inc dword [j]
        cmp dword [j], 8
        jb .column
        mov al, 10
        call lputc
        inc dword [i]
        cmp dword [i], 8
        jb .line
        inc dword [l]
        cmp dword [l], 8
        jb .level
        mov dword [terse], 0

; With an entry of the last table.
%macro PAGED 2
        L0 %1
        mov rax, PAGE | (%2)
        mov [PT], rax
        mov rsi, VA
        xor eax, eax
%endmacro
%macro PAGED3 2
        L3 %1
        mov rax, PAGE | (%2)
        mov [PT], rax
        mov rsi, VA
        xor eax, eax
%endmacro
NX      equ 1 << 63
; With another entry, at this address.
%macro ENTRY 3
        L0 %1
        mov qword [PT], PAGE | 7
        mov rax, %3
        or [%2], rax
        mov rsi, VA
        xor eax, eax
%endmacro
        PAGED "accessed and dirty: read", 7
        mov eax, [rsi]
        mov rax, [PT]
        LEND
        PAGED "accessed and dirty: write", 7
        mov [rsi + 8], eax
        mov rax, [PT]
        LEND
        PAGED "accessed and dirty: a write that faults", 5
        mov ecx, 0x80010011
        mov cr0, rcx
        mov dword [next], .faulted
        mov [rsi], eax
.faulted:
        LSAY "its entry"
        mov rax, [PT]
        mov dword [next], %$end
        LEND
        PAGED "accessed: upper levels", 7
        mov eax, [rsi]
        mov al, [DIR + 255 * 8]
        shl eax, 8
        mov al, [PDPT + 8]
        shl eax, 8
        mov al, [PD + 16]
        LEND
        PAGED "not present", 0
        mov eax, [rsi]
        LEND
        PAGED3 "not present, write at level 3", 0
        mov [rsi], eax
        LEND
        PAGED3 "fetch of what is not present", 0
        jmp rsi
        LEND
        PAGED3 "fetch of no-execute", NX | 7
        jmp rsi
        LEND
        PAGED "fetch of no-execute, level 0", NX | 3
        jmp rsi
        LEND
        PAGED3 "fetch of level 0's", 3
        jmp rsi
        LEND
        PAGED "no-execute is reserved without EFER.NXE", NX | 7
        WRMSR MSR_EFER, 0x501
        mov eax, [rsi]
        LEND
        PAGED "fetch without EFER.NXE", 0
        WRMSR MSR_EFER, 0x501
        jmp rsi
        LEND
        L0 "not present: root"
        mov qword [DIR + 255 * 8], 0
        mov rsi, VA
        mov eax, [rsi]
        LEND
        L0 "not present: pointers"
        mov qword [PDPT + 8], 0
        mov rsi, VA
        mov eax, [rsi]
        LEND
        L0 "not present: directory"
        mov qword [PD + 16], 0
        mov rsi, VA
        mov eax, [rsi]
        LEND
        L0 "not present: upper half"
        mov rsi, 0xffff800000000000
        mov [rsi], eax
        LEND
        ENTRY "reserved: bit 40 of the page", PT, 1 << 40
        mov eax, [rsi]
        LEND
        ENTRY "reserved: bit 51 of the directory", PD + 16, 1 << 51
        mov [rsi], eax
        LEND
        ENTRY "reserved: bit 45 of the pointers", PDPT + 8, 1 << 45
        mov eax, [rsi]
        LEND
        ENTRY "reserved: bit 50 of the root", DIR + 255 * 8, 1 << 50
        mov eax, [rsi]
        LEND
        ENTRY "reserved: bit 7 of the root", DIR + 255 * 8, 1 << 7
        mov eax, [rsi]
        LEND
        ENTRY "ignored: bits 9 to 11 and 52 to 62", PD + 16, 0x7ff0000000000e00
        mov eax, [rsi]
        LEND
        PAGED3 "reserved and of level 0, level 3", 1 << 40 | 1
        mov [rsi], eax
        LEND
        PAGED3 "reserved, fetch", 1 << 40 | 7
        jmp rsi
        LEND
; Pages of 2 MiB and of 1 GiB, which lead to address 0.
%macro LARGE 3
        L0 %1
        mov rax, %3
        mov [%2], rax
        mov rsi, VA
        and rsi, ~0x1fffff
        mov eax, 0x80010011
        mov cr0, rax
        mov dword [DATA], 0x1234
        xor eax, eax
%endmacro
        LARGE "2 MiB", PD + 16, 0x87
        mov rcx, [rsi + DATA]
        mov rax, [PD + 16]
        add rax, rcx
        LEND
        LARGE "2 MiB: write", PD + 16, 0x87
        mov [rsi + DATA], eax
        mov rax, [PD + 16]
        LEND
        LARGE "2 MiB: read-only", PD + 16, 0x85
        mov [rsi + DATA], eax
        LEND
        LARGE "2 MiB: no-execute", PD + 16, NX | 0x87
        add rsi, PAGE
        jmp rsi
        LEND
        LARGE "2 MiB: execute", PD + 16, 0x87
        add rsi, PAGE
        jmp rsi
        LEND
        LARGE "2 MiB: bit 12", PD + 16, 0x1087
        mov eax, [rsi + DATA]
        LEND
        LARGE "2 MiB: bit 13", PD + 16, 0x2087
        mov eax, [rsi + DATA]
        LEND
        LARGE "2 MiB: bit 20", PD + 16, 0x100087
        mov eax, [rsi + DATA]
        LEND
        LARGE "2 MiB: bit 40", PD + 16, 0x10000000087
        mov eax, [rsi + DATA]
        LEND
        LARGE "1 GiB", PDPT + 8, 0x87
        sub rsi, 0x400000
        mov rcx, [rsi + DATA]
        mov rax, [PDPT + 8]
        add rax, rcx
        LEND
        LARGE "1 GiB: write", PDPT + 8, 0x87
        sub rsi, 0x400000
        mov [rsi + DATA], eax
        mov rax, [PDPT + 8]
        LEND
        LARGE "1 GiB: read-only", PDPT + 8, 0x85
        sub rsi, 0x400000
        mov [rsi + DATA], eax
        LEND
        LARGE "1 GiB: no-execute", PDPT + 8, NX | 0x87
        sub rsi, 0x400000 - PAGE
        jmp rsi
        LEND
        LARGE "1 GiB: bit 13", PDPT + 8, 0x2087
        mov eax, [rsi]
        LEND
        LARGE "1 GiB: bit 29", PDPT + 8, 0x20000087
        mov eax, [rsi]
        LEND
        PAGED3 "across pages", 7
        mov rax, 0x5555555555555555
        mov [rsi + 0xffc], rax
        LEND
        PAGED3 "fetch across pages", 7
        mov byte [rsi + 0xfff], 0x48
        add rsi, 0xfff
        jmp rsi
        LEND
        PAGED3 "across pages, the second read-only", 7
        mov qword [PT + 8], PAGE | 5
        mov [rsi + 0xffc], rax
        LEND
        PAGED3 "push", 5
        lea rsp, [rsi + 0x100]
        push rax
        LEND
        PAGED3 "call", 5
        lea rsp, [rsi + 0x100]
        call lgate_target
        LEND
        PAGED3 "cmpxchg16b that fails on a page that can be read", 5
        mov edx, 1
        cmpxchg16b [rsi]
        LEND
        PAGED3 "rep movsq across pages", 7
        lea rdi, [rsi + 0xfe0]
        mov esi, DATA
        mov ecx, 100
        rep movsq
        LEND
        PAGED3 "cmpxchg16b, not aligned", 7
        cmpxchg16b [rsi + 8]
        LEND
        PAGED "invlpg makes a change seen", 7
        mov eax, [rsi]
        mov qword [PT], 0
        invlpg [rsi]
        mov eax, [rsi]
        LEND
        PAGED "cr3 makes a change seen", 7
        mov eax, [rsi]
        mov qword [PT], 0
        mov rcx, cr3
        mov cr3, rcx
        mov eax, [rsi]
        LEND
; Code of one page, then of another one at the same address.
%macro RECODED 1
        PAGED %1, 7
        mov byte [PAGE], 0xc3                           ; RET
        mov dword [PAGE + 0x1000], 0x909030cd
        call rsi
        mov qword [PT], PAGE + 0x1000 | 7
%endmacro
        RECODED "cr3 makes other code seen"
        mov rcx, cr3
        mov cr3, rcx
        call rsi
        LEND
        RECODED "invlpg makes other code seen"
        invlpg [rsi]
        call rsi
        LEND
        RECODED "cr3 makes no-execute of code seen"
        mov rax, NX | PAGE | 7
        mov [PT], rax
        mov rcx, cr3
        mov cr3, rcx
        call rsi
        LEND
        PAGED "invlpg of a global page", 0x107
        mov eax, 0xa0
        mov cr4, rax
        mov eax, [rsi]
        mov qword [PT], 0
        invlpg [rsi]
        mov eax, [rsi]
        LEND
; The program itself on pages of level 0.
%macro GUARDED 3                                        ; name, bits of CR4, bits of the page
        PAGED %1, %3
        mov byte [DIR_PD], 3
        mov ecx, 0x20 | (%2)
        mov cr4, rcx
%endmacro
        GUARDED "smep: fetch of level 3's", 0x100000, 5
        jmp rsi
        LEND
        GUARDED "smep: fetch of level 0's", 0x100000, 1
        mov dword [start], 0
        jmp rsi
        LEND
        GUARDED "smep: read of level 3's", 0x100000, 5
        mov eax, [rsi]
        LEND
        GUARDED "smap: read", 0x200000, 5
        mov eax, [rsi]
        LEND
        GUARDED "smap: write", 0x200000, 7
        mov [rsi], eax
        LEND
        GUARDED "smap: stac, clac", 0x200000, 7
        stac
        mov eax, [rsi]
        mov [rsi + 8], eax
        clac
        mov [rsi + 16], eax
        LEND
        GUARDED "smap: AC by popfq", 0x200000, 7
        push 0x40002
        popfq
        mov eax, [rsi]
        LEND
        GUARDED "smap: a table of the processor's on a page of level 3, AC set", 0x200000, 7
        mov rax, 0x40008240000000ff                     ; an LDT there
        mov [GDT + SCRATCH], rax
        mov qword [GDT + SCRATCH + 8], VA >> 32
        mov eax, SCRATCH
        lldt ax
        stac
        mov eax, 0x0f
        mov ds, eax
        LEND
        GUARDED "smap: fetch is allowed", 0x200000, 7
        mov dword [start], 0
        jmp rsi
        LEND
        L3 "stac at level 3"
        stac
        LEND
        C0 "stac in compatibility mode"
        stac
        LEND

        L0 "alignment at level 0"
        mov eax, 0x80040011
        mov cr0, rax
        push 0x40002
        popfq
        mov eax, [PAGE + 1]
        LEND
        L0 "alignment at level 3"
        mov eax, 0x80040011
        mov cr0, rax
        USER_WITH 0x40002
        mov eax, [PAGE + 1]
        LEND

; Debug registers.
        PAGED "data breakpoint, 64-bit address", 7
        mov dr0, rsi
        mov eax, 0xd0402
        mov dr7, rax
        mov [rsi + 4], eax
        mov [DATA], eax
        mov [rsi], eax
        nop
        LEND
        PAGED "data breakpoint of 8 bytes", 7
        add rsi, 8
        mov dr1, rsi
        mov eax, 0xb00408
        mov dr7, rax
        mov al, [rsi - 1]
        mov al, [rsi + 8]
        mov al, [rsi + 7]
        mov rax, dr6
        LEND
        L0 "data breakpoint at an address that differs in its upper half"
        mov rax, DATA + (1 << 40)
        mov dr0, rax
        mov eax, 0xf0402
        mov dr7, rax
        mov [DATA], eax
        mov rax, dr6
        LEND
        PAGED "instruction breakpoint, 64-bit address", 7
        mov dr0, rsi
        mov eax, 0x402
        mov dr7, rax
        mov dword [start], 0
        jmp rsi
        LEND
        L0 "instruction breakpoint, RF by iretq"
        mov eax, .resumed
        mov dr0, rax
        mov eax, 0x402
        mov dr7, rax
        FRAME DATA0, STACK0, 0x10002, LCODE0, .resumed
        iretq
.resumed:
        nop
        LEND
        L0 "dr7, upper half"
        mov rax, 0x100000400
        mov dr7, rax
        LEND
        L0 "dr6, upper half"
        mov rax, 0x1ffff0ff0
        mov dr6, rax
        LEND
        L0 "dr0 has 64 bits"
        mov rax, 0x8765432112345678
        mov dr0, rax
        xor eax, eax
        mov rax, dr0
        LEND
        L0 "dr4 is dr6"
        db 0x0f, 0x21, 0xe0                             ; mov rax, dr4
        LEND
        L0 "dr4 with CR4.DE"
        mov eax, 0x28
        mov cr4, rax
        db 0x0f, 0x21, 0xe0
        LEND
        L3 "mov rax, dr7 at level 3"
        mov rax, dr7
        LEND

; Opcodes that 64-bit mode does not have: vector and error code.
        LSAY "opcodes"
        mov dword [i], 0
.opcode:
        mov dword [terse], 1
        call lsetup
        mov dword [next], .after
        mov esp, STACK0
        mov eax, [i]
        mov eax, [.opcodes + rax * 4]
        mov [PAGE], eax
        mov dword [PAGE + 4], 0x90909090
        mov dword [PAGE + 8], 0x909030cd
        mov edi, PAGE
        mov edx, DATA
        xor eax, eax
        jmp rdi
.after: inc dword [i]
        cmp dword [i], (.opcodes_end - .opcodes) / 4
        jb .opcode
        mov al, 10
        call lputc
        mov dword [terse], 0
        jmp .opcodes_end
; PUSH and POP of ES, CS, SS and DS; DAA, DAS, AAA, AAS, PUSHA, POPA, group 1 at 0x82, far CALL, LES, LDS, INTO, AAM, AAD, SALC, far
; JMP; LOCK in front of what cannot be locked; MOV with CR1, CR5, CR7 and CR9.
.opcodes:
        dd 0x90909006, 0x90909007, 0x9090900e, 0x90909016, 0x90909017, 0x9090901e, 0x9090901f, 0x90909027, 0x9090902f
        dd 0x90909037, 0x9090903f, 0x90909060, 0x90909061, 0x9000c082, 0x9090909a, 0x000000c4, 0x000000c5, 0x909090ce
        dd 0x90900ad4, 0x90900ad5, 0x909090d6, 0x909090ea, 0x909090f0, 0x90c8200f, 0x90e8200f, 0x90f8220f, 0xc8200f44
.opcodes_end:

; Units that are off or that raise exceptions of their own.
%macro UNIT 4+                                          ; name, bits of CR0, bits of CR4, instruction
        L0 %1
        mov eax, 0x80000011 | (%2)
        mov cr0, rax
        mov eax, 0x20 | (%3)
        mov cr4, rax
        %4
        LEND
%endmacro
        UNIT "x87 with TS", 8, 0, fld1
        UNIT "x87 with EM", 4, 0, fld1
        UNIT "wait with TS alone", 8, 0, wait
        UNIT "wait with TS and MP", 10, 0, wait
        UNIT "mmx with TS", 8, 0, pxor mm0, mm0
        UNIT "mmx with EM", 4, 0, pxor mm0, mm0
        UNIT "sse without OSFXSR", 0, 0, xorps xmm0, xmm0
        UNIT "sse with TS", 8, 0x200, xorps xmm0, xmm0
        UNIT "sse with EM", 4, 0x200, xorps xmm0, xmm0
        UNIT "sse with EM and TS", 12, 0x200, xorps xmm0, xmm0
        UNIT "avx without OSXSAVE", 0, 0x200, vxorps xmm0, xmm0, xmm0
        UNIT "sse: not aligned", 0, 0x200, movaps xmm0, [DATA + 8]
        UNIT "ldmxcsr of a reserved bit", 0, 0x200, ldmxcsr [mxcsr_reserved]
        UNIT "xgetbv without OSXSAVE", 0, 0x200, xgetbv
%macro XSETBV 2
        L0 %1
        mov eax, 0x40220
        mov cr4, rax
        xor edx, edx
        mov eax, %2
        xsetbv
        LEND
%endmacro
        XSETBV "xsetbv: no x87", 2
        XSETBV "xsetbv: avx without sse", 5
        XSETBV "xsetbv: a reserved bit", 0x40000003
        L0 "xsetbv of another register"
        mov eax, 0x40220
        mov cr4, rax
        mov eax, 3
        mov ecx, 5
        xsetbv
        LEND
        L0 "xsetbv at level 3"
        mov eax, 0x40220
        mov cr4, rax
        USER_WITH 2
        mov eax, 3
        xsetbv
        LEND
        L0 "avx without its bit of xcr0"
        mov eax, 0x40220
        mov cr4, rax
        mov eax, 1
        xsetbv
        vxorps xmm0, xmm0, xmm0
        LEND
        L0 "simd exception"
        mov eax, 0x620
        mov cr4, rax
        ldmxcsr [mxcsr_divide]
        mov eax, 1
        cvtsi2ss xmm0, eax
        xorps xmm1, xmm1
        divss xmm0, xmm1
        LEND
        L0 "simd exception without OSXMMEXCPT"
        mov eax, 0x220
        mov cr4, rax
        ldmxcsr [mxcsr_divide]
        mov eax, 1
        cvtsi2ss xmm0, eax
        xorps xmm1, xmm1
        divss xmm0, xmm1
        LEND
        L0 "x87 exception"
        mov eax, 0x80000031
        mov cr0, rax
        fninit
        fldcw [x87_divide]
        fld1
        fldz
        fdivp
        nop
        fld1
        fninit
        LEND
        L0 "rdtsc with TSD at level 3"
        mov eax, 0x24
        mov cr4, rax
        USER_WITH 2
        rdtsc
        LEND
        L3 "rdpmc at level 3"
        rdpmc
        LEND

; Control registers.
%macro CONTROL 3                                        ; name, register, value
        L0 %1
        mov rax, %3
        mov %2, rax
        LEND
%endmacro
        CONTROL "cr0: NW without CD", cr0, 0xa0000011
        CONTROL "cr0: upper half", cr0, 0x180000011
        CONTROL "cr4: 5 levels", cr4, 0x1020
        CONTROL "cr8: 16", cr8, 16
%ifndef QEMU
        CONTROL "cr0: neither", cr0, 0x10
        CONTROL "cr0: no paging", cr0, 0x11
        CONTROL "cr0: no protection", cr0, 0x80000010
        L0 "cr4: PCIDs with one in force"
        mov rax, cr3
        or eax, 8
        mov cr3, rax
        mov eax, 0x20020
        mov cr4, rax
        LEND
        CONTROL "cr4: bit 31", cr4, 0x80000020
        CONTROL "cr4: upper half", cr4, 0x100000020
        CONTROL "cr4: no PAE", cr4, 0
; Process-context identifiers %2 of the space at DIR and %3 of that at OTHER, each of which has its own function at the page under
; test: it adds 1 or 0x10 to EAX.
KEEP    equ 1 << 63             ; of CR3
%macro SPACES 3
        L0 %1
        mov qword [OTHER], DIR_PDPT | 7
        mov qword [OTHER + 255 * 8], OTHER_PDPT | 7
        mov qword [OTHER_PDPT + 8], OTHER_PD | 7
        mov qword [OTHER_PD + 16], OTHER_PT | 7
        mov qword [OTHER_PT], PAGE + 0x1000 | 7
        mov qword [PT], PAGE | 7
        mov dword [PAGE], 0xc301c083
        mov dword [PAGE + 0x1000], 0xc310c083
        mov rsi, VA
        mov eax, 0x20020
        mov cr4, rax
        mov ebx, DIR | %2
        mov ecx, OTHER | %3
        xor eax, eax
        mov cr3, rbx
        call rsi
        mov cr3, rcx
        call rsi
        mov rdx, KEEP
        or rbx, rdx
        or rcx, rdx
        mov cr3, rbx
        call rsi
        mov cr3, rcx
        call rsi
%endmacro
%macro INVPCID_OF 2                                     ; identifier, address
        mov qword [DATA], %1
        mov rdx, %2
        mov [DATA + 8], rdx
%endmacro
        SPACES "pcid: each has its own code", 1, 2
        LEND
        SPACES "pcid: identifier 0", 0, 7
        LEND
        SPACES "pcid: cr3 makes other code seen", 1, 2
        mov qword [OTHER_PT], PAGE | 7
        mov ecx, OTHER | 2
        mov cr3, rcx
        call rsi
        LEND
        SPACES "pcid: cr3 of another space and back", 1, 2
        mov qword [PT], 0
        mov ebx, DIR | 1
        mov cr3, rbx
        call rsi
        LEND
        SPACES "invpcid of an address", 1, 2
        mov qword [OTHER_PT], 0
        INVPCID_OF 2, VA
        xor edx, edx
        invpcid rdx, [DATA]
        call rsi
        LEND
        SPACES "invpcid of a space", 1, 2
        mov qword [PT], 0
        INVPCID_OF 1, 0
        mov edx, 1
        invpcid rdx, [DATA]
        mov cr3, rbx
        call rsi
        LEND
        SPACES "invpcid of space 0", 0, 5
        mov qword [PT], 0
        INVPCID_OF 0, 0
        mov edx, 1
        invpcid rdx, [DATA]
        mov cr3, rbx
        call rsi
        LEND
        SPACES "invpcid of all", 1, 2
        mov qword [PT], 0
        mov edx, 2
        invpcid rdx, [DATA]
        mov cr3, rbx
        call rsi
        LEND
        L0 "invpcid of type 4"
        mov edx, 4
        invpcid rdx, [DATA]
        LEND
        L0 "invpcid of an identifier that is too large"
        INVPCID_OF 0x1000, 0
        mov edx, 1
        invpcid rdx, [DATA]
        LEND
        L0 "invpcid of an address that is not canonical"
        INVPCID_OF 0, HOLE
        xor edx, edx
        invpcid rdx, [DATA]
        LEND
        L0 "invpcid of a space without PCIDs"
        INVPCID_OF 1, 0
        mov edx, 1
        invpcid rdx, [DATA]
        LEND
        L3 "invpcid at level 3"
        invpcid rdx, [DATA]
        LEND
        L0 "cr0: no paging, with PCIDs"
        mov eax, 0x20020
        mov cr4, rax
        FRAME DATA0, STACK0, 2, CODE0, .pcid
        iretq
        bits 32
.pcid:  mov eax, 0x11
        mov cr0, eax
        LEND
        CONTROL "cr3: bit 40", cr3, DIR | 1 << 40
        CONTROL "cr3: bit 63", cr3, DIR | 1 << 63
%endif
        L0 "efer: a reserved bit"
        WRMSR MSR_EFER, 0x10d01
        LEND
        L0 "efer: no long mode"
        WRMSR MSR_EFER, 0xc01
        LEND
        L0 "wrmsr, PAT of an invalid type"
        WRMSR 0x277, 2
        LEND
        L0 "rdmsr of what does not exist"
        mov ecx, 0x7fffffff
        rdmsr
        LEND
%macro REFUSED 2+
        L3 %1
        %2
        LEND
%endmacro
        REFUSED "mov rax, cr0 at level 3", mov rax, cr0
        REFUSED "mov cr3, rax at level 3", mov cr3, rax
        REFUSED "mov rax, cr8 at level 3", mov rax, cr8
        REFUSED "rdmsr at level 3", rdmsr
        REFUSED "wrmsr at level 3", wrmsr
        REFUSED "hlt at level 3", hlt
        REFUSED "cli at level 3", cli
        REFUSED "lgdt at level 3", lgdt [DATA]
        REFUSED "invlpg at level 3", invlpg [rax]
        REFUSED "clts at level 3", clts
        REFUSED "wbinvd at level 3", wbinvd
        REFUSED "in al, 0x80", in al, 0x80
        REFUSED "in al, 0x81", in al, 0x81
        REFUSED "in eax, 0x7e", in eax, 0x7e
        REFUSED "sgdt", sgdt [DATA]
        L3 "popfq at level 3"
        push 0x247602
        popfq
        LEND
%macro RESTRICTED 2+
        L0 %1
        mov eax, 0x820
        mov cr4, rax
        USER_WITH 2
        %2
        LEND
%endmacro
        RESTRICTED "umip: sgdt", sgdt [DATA]
        RESTRICTED "umip: sidt", sidt [DATA]
        RESTRICTED "umip: sldt", sldt eax
        RESTRICTED "umip: str", str eax
        RESTRICTED "umip: smsw", smsw eax
        jmp checks_end

; Code of other checks.
lgate_return:
        retfq
lgate_pushed:
        mov rax, [rsp + 16]                             ; RSP, CS, SS
        shl rax, 16
        or rax, [rsp + 8]
        shl rax, 16
        or rax, [rsp + 24]
        int 0x30
sys_target:
        mov rax, rcx
        sub eax, [start]
        int 0x30
sys_flags:
        mov rax, r11
        int 0x30
mxcsr_reserved: dd 0x10001f80
mxcsr_divide: dd 0x1d80                                 ; division by zero is not masked
x87_divide: dw 0x37b
checks_end:
