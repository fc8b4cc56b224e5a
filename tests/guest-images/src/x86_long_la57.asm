; 5-level paging.
        LSAY "5 levels"
        mov al, 10
        call lputc
%macro LA57 3+                                          ; name, address, instruction
        L0 %1
        mov rsi, %2
        mov rbp, rsi
        %3
        LEND
%endmacro
        LA57 "la57: lower half", 0x00ffffffffffff00, mov eax, [rsi]
        LA57 "la57: upper half", 0xff00000000000000, mov [rsi], eax
        LA57 "la57: not canonical", 0x0100000000000000, mov eax, [rsi]
        LA57 "la57: not canonical, from below", 0xfeffffffffffff00, mov eax, [rsi]
        LA57 "la57: not canonical, stack", 0x0100000000000000, mov eax, [rbp]
        LA57 "la57: jmp to a 57-bit address", 0x0080000000000000, jmp rsi
        LA57 "la57: jmp to what is not canonical", 0x0100000000000000, jmp rsi
        L0 "la57: another root"
        mov qword [PML5 + 8], DIR | 7
        mov rsi, VA + (1 << 48)
        mov qword [PT], PAGE | 7
        mov eax, [rsi]
        mov al, [PML5 + 8]
        mov qword [PML5 + 8], 0
        LEND
        L0 "la57: reserved bit of the root"
        mov qword [PML5 + 8], DIR | 0x87
        mov rsi, VA + (1 << 48)
        mov dword [next], .reserved
        mov eax, [rsi]
.reserved:
        mov qword [PML5 + 8], 0
        mov dword [next], %$end
        LSAY "and gone"
        LEND
        L0 "la57: no-execute in the root, level 3"
        mov rax, NX | DIR | 7
        mov [PML5 + 8], rax
        mov qword [PT], PAGE | 7
        FRAME DATA3, USER, 2, LCODE3, .user
        iretq
.user:  mov rsi, VA + (1 << 48)
        jmp rsi
        LEND
        mov qword [PML5 + 8], 0
        L0 "la57: 4 levels while in long mode"
        mov eax, 0x20
        mov cr4, rax
        LEND
        L0 "la57: wrmsr of a 57-bit address"
        WRMSR MSR_FS, 0x0080000000000000
        RDMSR MSR_FS
        LEND
        L0 "la57: wrmsr of what is not canonical"
        WRMSR MSR_FS, 0x0100000000000000
        LEND
